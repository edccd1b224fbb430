/** One exchange in a process of its own, so that it can be frozen: URL and time limit in ms. Says what became of it. */
import { exchange } from '../../src/providers/http.ts'

const [url = '', timeoutMs = '0'] = process.argv.slice(2)
console.log(JSON.stringify(await exchange({ method: 'GET', url, timeoutMs: Number(timeoutMs) })))
process.exit(0)
