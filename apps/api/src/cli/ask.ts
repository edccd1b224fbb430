import { createInterface } from 'node:readline/promises'

/** Asks a question that is answered with yes or no; no by default, and when the terminal goes away. */
export async function askYes(question: string): Promise<boolean> {
  const asking = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const closed = new Promise<string>((resolve) => asking.once('close', () => resolve('')))
    const interrupted = new Promise<string>((resolve) => asking.once('SIGINT', () => resolve('')))
    const answer = await Promise.race([asking.question(`${question} [y/N] `), closed, interrupted])
    if (answer === '') process.stdout.write('\n')
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    asking.close()
  }
}
