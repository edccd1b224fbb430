/** A wire between a client and the test server that can be cut at a chosen moment. */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'

export type Cut = 'after forwarding' | 'before forwarding'

export type Wire = Readonly<{
  url: string
  /** Cuts the connection whose client sends a statement ending in `text` next: the server sees that message, or never does. */
  cutAt(text: string, cut: Cut): void
  close(): Promise<void>
}>

/** A TCP address that leads to the server of `url` (a socket URL), same user and database. */
export async function wireTo(url: string): Promise<Wire> {
  const target = new URL(url)
  const path = `${target.searchParams.get('host')}/.s.PGSQL.5432`
  const sockets = new Set<Socket>()
  let trap: { text: string; cut: Cut } | null = null

  const server = createServer((client) => {
    const upstream = createConnection({ path })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        upstream.end()
      })
    }
    upstream.pipe(client)
    client.on('data', (chunk) => {
      const sprung = trap !== null && chunk.includes(`${trap.text}\0`) ? trap : null
      if (!sprung) return void upstream.write(chunk)
      trap = null
      upstream.unpipe(client)
      // The server must have read the message before the connection ends under it.
      if (sprung.cut === 'after forwarding') {
        upstream.once('data', () => client.destroy())
        upstream.resume()
        upstream.write(chunk)
      } else client.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  const address = server.address() as AddressInfo
  return {
    url: `postgresql://${target.username}@127.0.0.1:${address.port}${target.pathname}`,
    cutAt: (text, cut) => {
      trap = { text, cut }
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
