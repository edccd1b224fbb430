/** The real worker on DATABASE_URL until SIGTERM. Says its id first, then whatever it logs. */
import { connect } from '../../src/db/client.ts'
import { startWorker } from '../../src/worker/worker.ts'
import { type Fate, meet } from './fate.ts'

const fate = process.env['GLEANER_FATE']
if (fate) meet(JSON.parse(fate) as Fate)

const db = await connect(process.env['DATABASE_URL'] ?? '', { name: 'gleaner worker', role: 'service_role' })
const worker = await startWorker({
  db,
  env: {},
  version: 'test',
  deadAfterMs: Number(process.env['DEAD_AFTER_MS']),
  log: (message, facts) => console.log(message, JSON.stringify(facts)),
})
console.log(worker.id)
process.once('SIGTERM', () => {
  void worker.stop().then(() => process.exit(0))
})
