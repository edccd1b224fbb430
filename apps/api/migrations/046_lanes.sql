-- ============================================================================
-- 046: Lanes
-- ============================================================================
-- Who works on which run. Whoever has a place free takes the run that has waited
-- longest, of the organisation with the fewest lanes; docs/adr/0008 says how.
-- ============================================================================

-- ============================================================================
-- 1. Collection Lanes
-- ============================================================================
-- A closed lane stays until its run ends: it says when the run was last served.
CREATE TABLE collection_lanes (
  run_id uuid NOT NULL REFERENCES collection_runs(id) ON DELETE CASCADE,
  worker_id uuid NOT NULL REFERENCES collection_workers(id) ON DELETE CASCADE,
  opened_at timestamptz NOT NULL DEFAULT now(),
  closed_at timestamptz,
  CONSTRAINT collection_lanes_pkey PRIMARY KEY (run_id, worker_id)
);

COMMENT ON TABLE collection_lanes IS 'Who works on which run, and who did. Of a dead worker, a lane counts no longer.';

CREATE INDEX idx_collection_lanes_worker_id ON collection_lanes(worker_id);
-- Runs of an organisation that want lanes, or hold places.
CREATE INDEX idx_collection_runs_running ON collection_runs(org_id) WHERE status = 'running';

-- ============================================================================
-- 2. Workers
-- ============================================================================
ALTER TABLE collection_workers ADD COLUMN stop_because text;

COMMENT ON COLUMN collection_workers.stop_because IS 'Set: the worker is to leave, and says this why. It looks with every heartbeat.';

-- ============================================================================
-- 3. Access
-- ============================================================================
ALTER TABLE collection_lanes ENABLE ROW LEVEL SECURITY;
CREATE POLICY collection_lanes_service_role ON collection_lanes
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_lanes_member_read ON collection_lanes
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_runs r WHERE r.id = run_id AND r.org_id IN (SELECT member_org_ids())));

REVOKE ALL ON collection_lanes FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON collection_lanes TO service_role;
GRANT SELECT ON collection_lanes TO authenticated;
