/** The options that say which sellers: the same for the list and the export. */
import { type Command, Option } from 'commander'
import { findRun } from '../runs/find-run.ts'
import { SELLER_SORTS, type SellerFilter, type SellerSort } from '../sellers/list-sellers.ts'
import type { Session } from './context.ts'

export type FilterOptions = Readonly<{ run?: string; new?: boolean; search?: string; sort?: SellerSort }>

/** The options that say which sellers, the same for list and export. */
export function withFilterOptions(command: Command): Command {
  return command
    .option('--run <ref>', 'only sellers seen in this run; matched products are counted within it')
    .option('--new', 'only sellers the run brought that were not on the list before (the last run when none is named)')
    .option('--search <text>', 'part of the name')
    .addOption(new Option('--sort <by>', 'order').choices(SELLER_SORTS).default('matched'))
}

/** The filter these options mean. */
export async function readFilter({ db, actor }: Session, options: FilterOptions): Promise<SellerFilter> {
  const ref = options.run ?? (options.new ? 'last' : undefined)
  const run = ref === undefined ? null : await findRun(db, actor.orgId, ref)
  return {
    orgId: actor.orgId,
    ...(run ? { runId: run.id } : {}),
    ...(options.new ? { onlyNew: true } : {}),
    ...(options.search ? { text: options.search } : {}),
    ...(options.sort ? { sort: options.sort } : {}),
  }
}
