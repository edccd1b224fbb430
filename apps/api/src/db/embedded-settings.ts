/** The embedded server's settings: everything that is not PostgreSQL's default, and why. */
import { totalmem } from 'node:os'

const MB = 1024 * 1024

/**
 * The text of gleaner.conf, which is written anew at every start and read before the operator's own `extra.conf`. `run`
 * is the socket's directory; its path holds no quote (embedded-place.ts).
 */
export function settingsFile(run: string, memoryBytes: number = totalmem()): string {
  // A quarter of memory is the usual advice for a server of its own; here the workers share the machine.
  const buffers = Math.max(32, Math.min(256, Math.floor(memoryBytes / MB / 8)))
  const cache = Math.max(64, Math.floor(memoryBytes / MB / 2))
  return `# Written by Gleaner at every start. Put settings of your own into extra.conf beside this file.

# A socket only: no port to collide with another server, nothing reachable from outside. Whoever can enter the
# directory is trusted, so it is closed to everybody else.
listen_addresses = ''
port = 5432
unix_socket_directories = '"${run}"'
unix_socket_permissions = 0700

# Several processes with a pool each, and room for tests. An idle connection costs about 2 MB.
max_connections = 200
shared_buffers = ${buffers}MB
effective_cache_size = ${cache}MB
work_mem = 8MB
# Disks of today read anywhere nearly as fast as in order.
random_page_cost = 1.1

# Money: what was committed survives a crash of the machine. Never traded for speed.
fsync = on
synchronous_commit = on
full_page_writes = on

# Bookings write much and evenly: fewer checkpoints mean fewer full pages in the log; compressing them halves it.
# Recovery after a crash reads at most these 2 GB.
max_wal_size = 2GB
wal_compression = on
checkpoint_timeout = 10min

# Short statements only: compiling them costs more than running them.
jit = off
# The machine is small and shared with the workers; and parallel queries need /dev/shm, which is 64 MB in containers.
max_parallel_workers_per_gather = 0
max_parallel_maintenance_workers = 0

timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
log_checkpoints = off
log_lock_waits = on
log_min_duration_statement = 5s
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
`
}
