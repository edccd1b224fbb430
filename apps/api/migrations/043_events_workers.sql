-- ============================================================================
-- 043: Events and workers
-- ============================================================================

-- ============================================================================
-- 1. Collection Events
-- ============================================================================
-- Numbered facts of a run, without gap: the number is taken from the run's row
-- in the same transaction.
CREATE TABLE collection_events (
  run_id uuid NOT NULL REFERENCES collection_runs(id) ON DELETE CASCADE,
  seq bigint NOT NULL CONSTRAINT collection_events_seq_range CHECK (seq >= 1),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  type text NOT NULL,
  actor_id uuid,
  data jsonb NOT NULL DEFAULT '{}',
  CONSTRAINT collection_events_pkey PRIMARY KEY (run_id, seq)
);

CREATE FUNCTION gleaner_events_final() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  RAISE EXCEPTION 'events are facts: they are never changed, and go only with their run' USING ERRCODE = 'GL003';
END
$$;

CREATE TRIGGER collection_events_final BEFORE UPDATE OR DELETE ON collection_events
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_events_final();

-- ============================================================================
-- 2. Collection Workers
-- ============================================================================
-- Who is alive. A worker whose heartbeat is older than its promise is dead: its
-- held calls become suspect and its items go back.
CREATE TABLE collection_workers (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  version text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  heartbeat_at timestamptz NOT NULL DEFAULT now(),
  stopped_at timestamptz
);

CREATE INDEX idx_collection_workers_heartbeat ON collection_workers(heartbeat_at) WHERE stopped_at IS NULL;
