-- ============================================================================
-- 049: Notifications
-- ============================================================================
-- An organisation may name an address that is told when a run passes its soft
-- mark, pauses by itself, completes or fails. What is to be told is written with
-- the event, in one transaction, and sent by workers afterwards: nothing is lost,
-- and nothing waits for the receiver. docs/adr/0014 says why.
-- ============================================================================

-- ============================================================================
-- 1. Collection Hooks
-- ============================================================================
-- Not among the settings, which members read: the secret is for workers alone.
CREATE TABLE collection_hooks (
  org_id uuid PRIMARY KEY REFERENCES orgs(id) ON DELETE CASCADE,
  url text NOT NULL
    CONSTRAINT collection_hooks_url_form CHECK (url ~ '^https?://[^/?#[:space:]]+[^#[:space:]]*$' AND char_length(url) <= 2000),
  secret text NOT NULL CONSTRAINT collection_hooks_secret_length CHECK (char_length(secret) BETWEEN 32 AND 200),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz
);

COMMENT ON TABLE collection_hooks IS 'Where an organisation is told of its runs, and the secret its messages are signed with.';

CREATE TRIGGER collection_hooks_touch BEFORE UPDATE ON collection_hooks
  FOR EACH ROW EXECUTE FUNCTION gleaner_touch();

-- ============================================================================
-- 2. Collection Notifications
-- ============================================================================
CREATE TABLE collection_notifications (
  run_id uuid NOT NULL,
  seq bigint NOT NULL,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  type text NOT NULL,
  facts jsonb NOT NULL,
  state text NOT NULL DEFAULT 'pending'
    CONSTRAINT collection_notifications_state_known CHECK (state IN ('pending', 'delivered', 'failed')),
  attempts integer NOT NULL DEFAULT 0 CONSTRAINT collection_notifications_attempts_range CHECK (attempts >= 0),
  next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until timestamptz,
  status_code integer,
  error_message text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  CONSTRAINT collection_notifications_pkey PRIMARY KEY (run_id, seq),
  CONSTRAINT collection_notifications_event_fkey FOREIGN KEY (run_id, seq)
    REFERENCES collection_events(run_id, seq) ON DELETE CASCADE,
  CONSTRAINT collection_notifications_ended_fits_state CHECK ((state = 'pending') = (ended_at IS NULL))
);

COMMENT ON TABLE collection_notifications IS 'What organisations are to be told: one row per event of interest, written with it.';
COMMENT ON COLUMN collection_notifications.facts IS 'The event, and the run with its money, as they stood at that commit.';
COMMENT ON COLUMN collection_notifications.attempts IS 'Raised by every worker that takes it. What came of an attempt counts only while it is the last one.';
COMMENT ON COLUMN collection_notifications.lease_until IS 'Until then a worker is sending it; afterwards another may.';

CREATE INDEX idx_collection_notifications_org_id ON collection_notifications(org_id, created_at);
CREATE INDEX idx_collection_notifications_pending ON collection_notifications(next_at) WHERE state = 'pending';

-- ============================================================================
-- 3. Events Of Interest
-- ============================================================================
CREATE FUNCTION gleaner_event_notifies() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO collection_notifications (run_id, seq, org_id, type, facts)
  SELECT NEW.run_id, NEW.seq, r.org_id, NEW.type, jsonb_build_object(
    'at', NEW.at, 'number', r.number, 'name', r.name, 'status', r.status, 'data', NEW.data,
    'cap_micros', r.cap_micros, 'spent_micros', r.spent_micros, 'held_micros', r.held_micros,
    'suspect_micros', r.suspect_micros)
  FROM collection_runs r JOIN collection_hooks h ON h.org_id = r.org_id WHERE r.id = NEW.run_id;
  RETURN NULL;
END
$$;

-- Looked at without calling the function: most events are calls.booked. What an operator did, an operator knows.
CREATE TRIGGER collection_events_notify AFTER INSERT ON collection_events
  FOR EACH ROW WHEN (NEW.type IN ('run.soft_warning', 'run.completed', 'run.failed')
    OR (NEW.type = 'run.paused' AND NEW.data ->> 'reason' IS DISTINCT FROM 'operator'))
  EXECUTE FUNCTION gleaner_event_notifies();

-- ============================================================================
-- 4. Access
-- ============================================================================
ALTER TABLE collection_hooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_notifications ENABLE ROW LEVEL SECURITY;
CREATE POLICY collection_hooks_service_role ON collection_hooks
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_notifications_service_role ON collection_notifications
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_notifications_member_read ON collection_notifications
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));

REVOKE ALL ON collection_hooks, collection_notifications FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, DELETE, INSERT (org_id, url, secret), UPDATE (url, secret) ON collection_hooks TO service_role;
GRANT SELECT, UPDATE (state, attempts, next_at, lease_until, status_code, error_message, ended_at)
  ON collection_notifications TO service_role;
GRANT SELECT ON collection_notifications TO authenticated;
REVOKE ALL ON FUNCTION gleaner_event_notifies() FROM PUBLIC, anon, authenticated, service_role;
