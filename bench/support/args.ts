/** Arguments of a benchmark: each has a default, and --help tells them all. */
import { parseArgs } from 'node:util'

export type Argument = Readonly<{ default: number | string; help: string }>

export type Values<A extends Readonly<Record<string, Argument>>> = {
  readonly [K in keyof A]: A[K]['default'] extends number ? number : string
}

/**
 * The values of `wanted` from the command line, `about` and the arguments on --help. Ends the process with 2 on an unknown
 * argument or one that is not a positive number where the default is one, with 0 after --help.
 */
export function readArgs<const A extends Readonly<Record<string, Argument>>>(about: string, wanted: A): Values<A> {
  const options = Object.fromEntries(Object.keys(wanted).map((name) => [name, { type: 'string' as const }]))
  let given: Record<string, unknown>
  try {
    given = parseArgs({ options: { ...options, help: { type: 'boolean' } } }).values
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error))
  }
  if (given['help']) {
    console.log(`${about}\n\n${lines(wanted)}`)
    process.exit(0)
  }
  const values = Object.entries(wanted).map(([name, argument]) => {
    const value = given[name] ?? argument.default
    if (typeof argument.default === 'string') return [name, String(value)]
    const number = Number(value)
    if (!(number > 0)) return refuse(`--${name} takes a positive number, not ${String(value)}`)
    return [name, number]
  })
  return Object.fromEntries(values) as Values<A>
}

/** A list of positive numbers given with commas. Ends the process with 2 when it is none. */
export function numbersOf(name: string, text: string): number[] {
  const numbers = text.split(',').map(Number)
  if (numbers.every((number) => number > 0)) return numbers
  return refuse(`--${name} takes positive numbers with commas between them, not ${text}`)
}

function lines(wanted: Readonly<Record<string, Argument>>): string {
  const width = Math.max(...Object.keys(wanted).map((name) => name.length))
  return Object.entries(wanted)
    .map(([name, argument]) => `  --${name.padEnd(width)}  ${argument.help} (default: ${argument.default || 'none'})`)
    .join('\n')
}

function refuse(message: string): never {
  console.error(`${message}; --help tells the arguments`)
  process.exit(2)
}
