/**
 * What workers can use: each writes down by name which credentials its environment holds, so that the fleet knows of
 * every account whether somebody can call it. Values never leave the process.
 */

/**
 * Names of the credentials in this environment, e.g. `EBAY_USER`: of every GLEANER_…_USER and _SECRET that is set. With the
 * installation's key, `KEY_<its id>`: it opens what is stored in the database.
 */
export function credentialNames(env: NodeJS.ProcessEnv, keyId?: string): string[] {
  const names = Object.keys(env).flatMap((name) => {
    const [, credential] = /^GLEANER_([A-Z0-9_]+_(?:USER|SECRET))$/.exec(name) ?? []
    return credential !== undefined && env[name] ? [credential] : []
  })
  return [...names, ...(keyId === undefined ? [] : [`KEY_${keyId}`])].sort()
}

/**
 * SQL: true when `names` (text[]; null = all) hold what the account `a` needs. `openAccount` (engine/account-credentials.ts) decides
 * the same of a process itself; a test holds one against the other.
 */
export function canUse(names: string, a = 'a'): string {
  const prefix = `upper(replace(${a}.name, '-', '_'))`
  return `(${names} is null or ${a}.sandbox or ${prefix} || '_SECRET' = any (${names})
    and (${a}.adapter = 'keepa' or ${prefix} || '_USER' = any (${names}))
    or exists (select from provider_credentials stored where stored.account_id = ${a}.id and stored.field = 'secret'
      and 'KEY_' || stored.key_id = any (${names})))`
}

/** SQL: true when the run `r` needs the account `a` for what it has left to do. */
export const NEEDS = `(r.search_account_id = a.id or r.open_categories > 0 and r.list_account_id = a.id)`

/** SQL: true for a run `r` of which one worker of `workers` (rows of collection_workers) can use every account it needs. */
export function servedBy(workers: string): string {
  return `exists (select from ${workers} w where not exists (
    select from provider_accounts a where ${NEEDS} and not ${canUse('w.credentials')}))`
}

/** SQL: workers that are alive; `silentMs` is how long one may be silent, ms. */
export function aliveWorkers(silentMs: string): string {
  return `(select * from collection_workers
    where stopped_at is null and heartbeat_at >= now() - ${silentMs} * interval '1 ms')`
}
