/**
 * Adds to package-lock.json the optional packages of other platforms that npm left out.
 *
 * npm writes only those optional packages into the lock that the registry it asked could serve, and `npm ci` then refuses
 * the lock because the others are missing. A registry mirror that carries the packages of one platform only thus breaks
 * the lock for everybody. Their versions stand in the package that asks for them; system and processor are in their names.
 *
 *   node scripts/complete-lockfile.ts           adds what is missing
 *   node scripts/complete-lockfile.ts --check   exits 1 when something is missing
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

type Entry = {
  version?: string
  cpu?: string[]
  os?: string[]
  dev?: boolean
  optional?: boolean
  optionalDependencies?: Record<string, string>
}
type Lock = { packages: Record<string, Entry> }

const FILE = join(import.meta.dirname, '..', 'package-lock.json')
const SYSTEMS: Readonly<Record<string, string>> = {
  android: 'android',
  darwin: 'darwin',
  freebsd: 'freebsd',
  linux: 'linux',
  netbsd: 'netbsd',
  openbsd: 'openbsd',
  openharmony: 'openharmony',
  win32: 'win32',
  windows: 'win32',
}
const PROCESSORS: Readonly<Record<string, string>> = {
  arm: 'arm',
  arm64: 'arm64',
  ia32: 'ia32',
  loong64: 'loong64',
  ppc64: 'ppc64',
  riscv64: 'riscv64',
  s390x: 's390x',
  x64: 'x64',
}

const lock = JSON.parse(readFileSync(FILE, 'utf8')) as Lock
const missing = new Map<string, Entry>()
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const at = `node_modules/${name}`
    const platform = platformOf(name)
    // npm install forgets that those without a checksum are optional, and npm ci would then want them on every platform.
    const known = lock.packages[at]
    if (!platform || known?.optional || lock.packages[`${path}/${at}`] || !/^\d/.test(version)) continue
    const dev = entry.dev ? { dev: true } : {}
    missing.set(at, { version, ...platform, ...known, ...dev, optional: true })
  }
}

if (process.argv.includes('--check')) {
  if (missing.size > 0) {
    console.error(`package-lock.json lacks ${missing.size} optional packages, so npm ci would refuse it.`)
    console.error('Run: node scripts/complete-lockfile.ts')
    process.exitCode = 1
  }
} else if (missing.size > 0) {
  const packages = Object.entries({ ...lock.packages, ...Object.fromEntries(missing) })
  lock.packages = Object.fromEntries(packages.toSorted(([a], [b]) => (a < b ? -1 : 1)))
  writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`added ${missing.size} optional packages`)
} else console.log('nothing is missing')

/** System and processor as the parts of the name tell, or null when it names no system. */
function platformOf(name: string): { cpu: string[]; os: string[] } | null {
  const parts = name.split(/[-/]/)
  const os = parts.map((part) => SYSTEMS[part]).find(Boolean)
  const cpu = parts.map((part) => PROCESSORS[part]).find(Boolean)
  return os && cpu ? { cpu: [cpu], os: [os] } : null
}
