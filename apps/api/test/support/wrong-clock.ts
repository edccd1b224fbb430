/** Preloaded (--import) into a process whose clock is to be wrong by CLOCK_OFF_MS. */
const offMs = Number(process.env['CLOCK_OFF_MS'])

globalThis.Date = new Proxy(Date, {
  construct: (target, given, newTarget) =>
    Reflect.construct(target, given.length > 0 ? given : [target.now() + offMs], newTarget) as Date,
  get: (target, key, receiver) =>
    key === 'now' ? () => target.now() + offMs : (Reflect.get(target, key, receiver) as unknown),
})
