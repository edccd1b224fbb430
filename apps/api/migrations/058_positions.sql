-- ============================================================================
-- 058: Positions: the events of an organisation in one order
-- ============================================================================
-- The numbers of a run say nothing about the order between runs. Whoever follows
-- an organisation needs one place to go on from, so every event has a position:
-- numbered for its organisation without a gap, in the order of the commits.
--
-- It is given when the transaction commits (a deferred trigger). The row of
-- collection_positions is thereby the last lock of all, held only while the
-- commit is written, and who sees a position sees all before it. docs/adr/0016.
-- ============================================================================

-- ============================================================================
-- 1. Tables
-- ============================================================================
-- A hot row: room on its page for the next version keeps updates off the index.
CREATE TABLE collection_positions (
  org_id uuid PRIMARY KEY REFERENCES orgs(id) ON DELETE CASCADE,
  last_position bigint NOT NULL DEFAULT 0 CONSTRAINT collection_positions_range CHECK (last_position >= 0)
) WITH (fillfactor = 30);

COMMENT ON TABLE collection_positions IS 'The last position of each organisation. Kept by trigger.';

-- The lock on collection_positions is held when a row comes in, so the foreign key costs nothing. There is none to the
-- event: a position stays when its event goes with its run, and the numbers keep having no gap.
CREATE TABLE collection_feed (
  org_id uuid NOT NULL REFERENCES collection_positions(org_id) ON DELETE CASCADE,
  position bigint NOT NULL CONSTRAINT collection_feed_position_range CHECK (position >= 1),
  run_id uuid NOT NULL,
  seq bigint NOT NULL,
  CONSTRAINT collection_feed_pkey PRIMARY KEY (org_id, position)
);

COMMENT ON TABLE collection_feed IS 'The events of an organisation in the order of their commits. Kept by trigger.';
COMMENT ON COLUMN collection_feed.seq IS 'Number of the event in its run.';

-- ============================================================================
-- 2. Giving A Position
-- ============================================================================
CREATE FUNCTION gleaner_event_positioned() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  org uuid;
  given bigint;
BEGIN
  SELECT org_id INTO org FROM collection_runs WHERE id = NEW.run_id;
  IF NOT FOUND THEN
    RETURN NULL; -- the run was deleted in the same transaction
  END IF;
  LOOP
    UPDATE collection_positions SET last_position = last_position + 1 WHERE org_id = org RETURNING last_position INTO given;
    EXIT WHEN FOUND;
    INSERT INTO collection_positions (org_id) VALUES (org) ON CONFLICT (org_id) DO NOTHING;
  END LOOP;
  INSERT INTO collection_feed (org_id, position, run_id, seq) VALUES (org, given, NEW.run_id, NEW.seq);
  RETURN NULL;
END
$$;

-- Nobody writes events until this migration has committed, so those before it can be given theirs.
CREATE CONSTRAINT TRIGGER collection_events_positioned AFTER INSERT ON collection_events
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gleaner_event_positioned();

INSERT INTO collection_positions (org_id, last_position)
SELECT r.org_id, count(*) FROM collection_events e JOIN collection_runs r ON r.id = e.run_id GROUP BY r.org_id;

-- By time, and never against the order of a run, whatever a clock did.
INSERT INTO collection_feed (org_id, position, run_id, seq)
SELECT org_id, row_number() OVER (PARTITION BY org_id ORDER BY latest, run_id, seq), run_id, seq
FROM (
  SELECT r.org_id, e.run_id, e.seq, max(e.at) OVER (PARTITION BY e.run_id ORDER BY e.seq) AS latest
  FROM collection_events e JOIN collection_runs r ON r.id = e.run_id
) told;

-- ============================================================================
-- 3. Access
-- ============================================================================
ALTER TABLE collection_positions ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_feed ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON collection_positions, collection_feed FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION gleaner_event_positioned() FROM PUBLIC, anon, authenticated, service_role;

CREATE POLICY collection_positions_service_role ON collection_positions FOR SELECT TO service_role USING (true);
CREATE POLICY collection_feed_service_role ON collection_feed FOR SELECT TO service_role USING (true);
CREATE POLICY collection_positions_member_read ON collection_positions
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY collection_feed_member_read ON collection_feed
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY collection_positions_claim_org ON collection_positions AS RESTRICTIVE FOR ALL TO authenticated
  USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()));
CREATE POLICY collection_feed_claim_org ON collection_feed AS RESTRICTIVE FOR ALL TO authenticated
  USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()));

GRANT SELECT ON collection_positions, collection_feed TO service_role, authenticated;
