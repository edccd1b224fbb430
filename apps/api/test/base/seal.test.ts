import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { installationKey, isSameKey, secretsOf } from '../../src/base/seal.ts'

const key = (fill: number) => installationKey(Buffer.alloc(32, fill), randomBytes)

describe('a key', () => {
  it('opens what it sealed, about the same thing only', () => {
    const sealed = key(1).seal('hunter2', 'account:1:secret')
    expect(key(1).open(sealed, 'account:1:secret').toString()).toBe('hunter2')
    expect(() => key(1).open(sealed, 'account:2:secret')).toThrow()
    expect(() => key(1).open(sealed, 'account:1:user')).toThrow()
  })

  it('opens nothing that was changed by a bit, cut, or sealed by another key', () => {
    const sealed = key(1).seal('hunter2', 'x')
    for (let at = 0; at < sealed.sealed.length; at++) {
      const bytes = Buffer.from(sealed.sealed)
      bytes[at] = (bytes[at] ?? 0) ^ 1
      expect(() => key(1).open({ ...sealed, sealed: bytes }, 'x')).toThrow()
    }
    const nonce = Buffer.from(sealed.nonce)
    nonce[0] = (nonce[0] ?? 0) ^ 1
    expect(() => key(1).open({ ...sealed, nonce }, 'x')).toThrow()
    expect(() => key(1).open({ ...sealed, sealed: sealed.sealed.subarray(0, -1) }, 'x')).toThrow()
    expect(() => key(1).open({ ...sealed, sealed: Buffer.alloc(3) }, 'x')).toThrow()
    expect(() => key(2).open(sealed, 'x')).toThrow(/key/)
    expect(() => key(2).open({ ...sealed, keyId: key(2).id }, 'x')).toThrow()
  })

  it('seals the same text differently every time, and shows nothing of it', () => {
    const [one, other] = [key(1).seal('the same secret', 'x'), key(1).seal('the same secret', 'x')]
    expect(one.sealed.equals(other.sealed)).toBe(false)
    expect(one.nonce.equals(other.nonce)).toBe(false)
    expect(one.sealed.toString('latin1')).not.toContain('secret')
  })

  it('is known again by its check, and neither check nor id nor the object tells its bytes', () => {
    const secret = Buffer.from('0123456789abcdef0123456789abcdef')
    const one = installationKey(Buffer.from(secret), randomBytes)
    expect(isSameKey(one, installationKey(Buffer.from(secret), randomBytes).check)).toBe(true)
    expect(isSameKey(one, key(1).check)).toBe(false)
    expect(isSameKey(one, Buffer.alloc(3))).toBe(false)
    const told = JSON.stringify(one) + Buffer.from(one.id, 'hex').toString('latin1') + one.check.toString('latin1')
    expect(told).not.toContain('0123456789')
    expect(Object.values(one).some((part) => Buffer.isBuffer(part) && part.equals(secret))).toBe(false)
  })

  it('has 32 bytes', () => {
    expect(() => installationKey(Buffer.alloc(31), randomBytes)).toThrow(RangeError)
  })
})

describe('hashes', () => {
  it('are the same under one hash key whatever the installation key, and others under another', () => {
    const [hashKey, other] = [Buffer.alloc(32, 7), Buffer.alloc(32, 8)]
    const hash = secretsOf(key(1), hashKey).hash('name:somebody')
    expect(secretsOf(key(2), hashKey).hash('name:somebody').equals(hash)).toBe(true)
    expect(secretsOf(key(1), other).hash('name:somebody').equals(hash)).toBe(false)
    expect(secretsOf(key(1), hashKey).hash('id:somebody').equals(hash)).toBe(false)
  })
})
