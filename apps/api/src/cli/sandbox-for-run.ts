/** The sandbox, for commands that may or may not need it. */
import { sandboxDir } from '../deps.ts'
import { listAccounts } from '../engine/accounts.ts'
import { listRuns } from '../runs/find-run.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import type { Context, Session } from './context.ts'
import { ensureSandbox, type Sandbox } from './sandbox-process.ts'

/** Makes sure the sandbox of this installation is up. */
export function openSandbox(context: Context, session: Session): Promise<Sandbox> {
  return ensureSandbox({ db: session.db, dir: sandboxDir(context.config), shared: session.embedded === null })
}

/** Makes sure the sandbox is up when the run, or another one this worker will take part in, collects from it. */
export async function sandboxForRun(context: Context, session: Session, run: RunSnapshot): Promise<Sandbox | null> {
  const sandboxes = new Set((await listAccounts(session.db)).filter((one) => one.sandbox).map((one) => one.id))
  const going = await listRuns(session.db, run.orgId, { statuses: ['running', 'pending'] })
  const uses = ({ searchAccountId, listAccountId }: RunSnapshot): boolean =>
    sandboxes.has(searchAccountId ?? '') || sandboxes.has(listAccountId ?? '')
  return [run, ...going].some(uses) ? openSandbox(context, session) : null
}
