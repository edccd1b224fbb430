/** Which lanes a full worker gives up for runs that wait. */
import type { OrgLanes } from '../queue/lanes.ts'

/** A lane of this worker. `ready` when its time is over, or it has had nothing in flight for a while. */
export type OwnLane = Readonly<{ runId: string; orgId: string; ageMs: number; ready: boolean }>

/**
 * The runs whose lanes are to end: one for each run that waits, as far as lanes are ready. A lane gives way to a run of its
 * own organisation, or of one that has fewer lanes in the whole fleet; lanes of the organisation with the most go first,
 * and of those the oldest.
 */
export function lanesToGiveUp(own: readonly OwnLane[], orgs: readonly OrgLanes[]): string[] {
  const lanes = new Map(orgs.map((org) => [org.orgId, org.lanes]))
  const waiting = new Map(orgs.filter((org) => org.waiting > 0).map((org) => [org.orgId, org.waiting]))
  const of = (orgId: string): number => lanes.get(orgId) ?? 0
  const ready = own.filter((lane) => lane.ready)
  const given: string[] = []
  while (ready.length > 0 && waiting.size > 0) {
    ready.sort((a, b) => of(b.orgId) - of(a.orgId) || b.ageMs - a.ageMs)
    const lane = ready.shift() as OwnLane
    const [poorest] = [...waiting.keys()].sort((a, b) => of(a) - of(b))
    const heir = [poorest, lane.orgId].find(
      (orgId) => orgId !== undefined && waiting.has(orgId) && (orgId === lane.orgId || of(orgId) < of(lane.orgId)),
    )
    if (heir === undefined) continue
    given.push(lane.runId)
    lanes.set(lane.orgId, of(lane.orgId) - 1)
    lanes.set(heir, of(heir) + 1)
    const left = (waiting.get(heir) ?? 0) - 1
    if (left > 0) waiting.set(heir, left)
    else waiting.delete(heir)
  }
  return given
}
