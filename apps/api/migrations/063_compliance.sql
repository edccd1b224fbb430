-- gleaner: stops workers
-- ============================================================================
-- 063: Erasure, do not collect, retention
-- ============================================================================
-- A seller may ask to be forgotten, and then must be, everywhere, for good
-- (docs/compliance.md, ADR 0023). Workers of the version before would collect it
-- again, so they are asked to leave first.
-- ============================================================================

-- ============================================================================
-- 1. Who Is Not Collected
-- ============================================================================
-- Raised with every seller that is not to be collected any more. A booking looks at it under the lock of section 6; while
-- it is what it was, nobody is looked up.
CREATE TABLE compliance_version (
  one boolean NOT NULL DEFAULT true CONSTRAINT compliance_version_pkey PRIMARY KEY CONSTRAINT compliance_version_one CHECK (one),
  version bigint NOT NULL DEFAULT 0
);
INSERT INTO compliance_version DEFAULT VALUES;

COMMENT ON TABLE compliance_version IS 'How often somebody was put on a list of those not to collect: 0 = nobody is on one.';

-- Keyed hashes: a seller that was erased is known again by them, and nobody can tell from them who it was.
CREATE TABLE compliance_tombstones (
  hash bytea NOT NULL CONSTRAINT compliance_tombstones_hash_length CHECK (octet_length(hash) = 32),
  -- Null: for all organisations.
  org_id uuid REFERENCES orgs(id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT compliance_tombstones_unique UNIQUE NULLS NOT DISTINCT (hash, org_id)
);

COMMENT ON TABLE compliance_tombstones IS 'Erased sellers as keyed hashes of their name and of their id at eBay: they are not collected again.';

CREATE INDEX idx_compliance_tombstones_org_id ON compliance_tombstones(org_id) WHERE org_id IS NOT NULL;

CREATE TABLE compliance_do_not_collect (
  id uuid NOT NULL CONSTRAINT compliance_do_not_collect_pkey PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  display_name text NOT NULL CONSTRAINT compliance_do_not_collect_name_length CHECK (char_length(display_name) BETWEEN 1 AND 200),
  normalized_name text NOT NULL
    CONSTRAINT compliance_do_not_collect_normalized_length CHECK (char_length(normalized_name) BETWEEN 1 AND 200),
  note text CONSTRAINT compliance_do_not_collect_note_length CHECK (char_length(note) BETWEEN 1 AND 1000),
  -- Not a foreign key: the row outlives the person.
  added_by uuid NOT NULL,
  added_at timestamptz NOT NULL DEFAULT now(),
  -- The seller that was taken off the list with it, so that it can be put back when this is undone. It may be gone since.
  removed_seller_id uuid,
  CONSTRAINT compliance_do_not_collect_unique UNIQUE (org_id, normalized_name)
);

COMMENT ON TABLE compliance_do_not_collect IS 'Sellers an organisation does not want: no booking records them.';

-- ============================================================================
-- 2. Erasures
-- ============================================================================
CREATE TABLE compliance_erasures (
  id uuid NOT NULL CONSTRAINT compliance_erasures_pkey PRIMARY KEY,
  source text NOT NULL CONSTRAINT compliance_erasures_source_known CHECK (source IN ('ebay', 'owner')),
  -- eBay's own id of the notification: the same one again is the same erasure.
  notification_id text CONSTRAINT compliance_erasures_notification_unique UNIQUE
    CONSTRAINT compliance_erasures_notification_length CHECK (char_length(notification_id) BETWEEN 1 AND 200),
  -- Null: in all organisations.
  org_id uuid REFERENCES orgs(id) ON DELETE CASCADE,
  requested_by uuid,
  state text NOT NULL DEFAULT 'pending' CONSTRAINT compliance_erasures_state_known CHECK (state IN ('pending', 'done')),
  -- Who is to be erased, sealed with the installation's key; gone when it is done.
  identity_key_id text,
  identity_nonce bytea,
  identity_sealed bytea,
  attempts integer NOT NULL DEFAULT 0 CONSTRAINT compliance_erasures_attempts_range CHECK (attempts >= 0),
  next_at timestamptz NOT NULL DEFAULT now(),
  trouble text CONSTRAINT compliance_erasures_trouble_length CHECK (char_length(trouble) <= 300),
  received_at timestamptz NOT NULL DEFAULT now(),
  due_at timestamptz NOT NULL DEFAULT now() + interval '1 hour',
  -- From then on no export can hold the seller.
  rows_gone_at timestamptz,
  done_at timestamptz,
  -- By organisation: how many rows of what were erased.
  counts jsonb NOT NULL DEFAULT '{}',
  CONSTRAINT compliance_erasures_source_fits CHECK (
    CASE source WHEN 'ebay' THEN notification_id IS NOT NULL AND org_id IS NULL AND requested_by IS NULL
      ELSE notification_id IS NULL AND org_id IS NOT NULL AND requested_by IS NOT NULL END),
  CONSTRAINT compliance_erasures_done_fits CHECK ((state = 'done') = (done_at IS NOT NULL)),
  CONSTRAINT compliance_erasures_identity_fits CHECK (
    num_nonnulls(identity_key_id, identity_nonce, identity_sealed) = CASE state WHEN 'done' THEN 0 ELSE 3 END)
);

COMMENT ON TABLE compliance_erasures IS 'Sellers to be forgotten: what asked for it, until when, and what became of it; never who it was, once that is done.';

CREATE INDEX idx_compliance_erasures_org_id ON compliance_erasures(org_id) WHERE org_id IS NOT NULL;
CREATE INDEX idx_compliance_erasures_pending ON compliance_erasures(next_at) WHERE state = 'pending';

-- ============================================================================
-- 3. Retention
-- ============================================================================
ALTER TABLE collection_settings
  ADD COLUMN keep_evidence_days integer NOT NULL DEFAULT 30
    CONSTRAINT collection_settings_keep_evidence_range CHECK (keep_evidence_days BETWEEN 1 AND 3650),
  ADD COLUMN keep_sellers_days integer NOT NULL DEFAULT 365
    CONSTRAINT collection_settings_keep_sellers_range CHECK (keep_sellers_days BETWEEN 30 AND 3650),
  ADD COLUMN keep_exports_days integer NOT NULL DEFAULT 7
    CONSTRAINT collection_settings_keep_exports_range CHECK (keep_exports_days BETWEEN 1 AND 365),
  ADD COLUMN keep_audit_days integer NOT NULL DEFAULT 400
    CONSTRAINT collection_settings_keep_audit_range CHECK (keep_audit_days BETWEEN 90 AND 3650);

COMMENT ON COLUMN collection_settings.keep_evidence_days IS 'What providers showed (listings, prices, feedback) is removed so long after it was seen.';
COMMENT ON COLUMN collection_settings.keep_sellers_days IS 'A seller is removed, with every trace, so long after it was last seen.';

ALTER TABLE collection_runs ADD COLUMN evidence_removed_at timestamptz;
COMMENT ON COLUMN collection_runs.evidence_removed_at IS 'When all evidence of this run had been removed, because it was kept long enough.';
CREATE INDEX idx_collection_runs_evidence_kept ON collection_runs(org_id, created_at) WHERE evidence_removed_at IS NULL;

CREATE TABLE compliance_sweeps (
  org_id uuid NOT NULL CONSTRAINT compliance_sweeps_pkey PRIMARY KEY REFERENCES orgs(id) ON DELETE CASCADE,
  next_at timestamptz NOT NULL DEFAULT now(),
  swept_at timestamptz,
  trouble text CONSTRAINT compliance_sweeps_trouble_length CHECK (char_length(trouble) <= 300),
  evidence_rows bigint NOT NULL DEFAULT 0,
  sellers bigint NOT NULL DEFAULT 0,
  audit_rows bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE compliance_sweeps IS 'When each organisation was last looked through for what has been kept long enough, and what was removed in all.';

-- ============================================================================
-- 4. An Item Without Its Seller
-- ============================================================================
-- The item of a seller stays when the seller is forgotten, because the run counts it; its name becomes `erased:` and its
-- own id. As in 040 otherwise.
DROP TRIGGER collection_items_illegal ON collection_items;
CREATE TRIGGER collection_items_illegal BEFORE UPDATE ON collection_items
  FOR EACH ROW WHEN (
    (OLD.status NOT IN ('pending', 'processing') AND (NEW.status <> OLD.status OR NEW.outcome IS DISTINCT FROM OLD.outcome))
    OR NEW.epoch < OLD.epoch OR NEW.cost_micros < OLD.cost_micros OR NEW.id <> OLD.id OR NEW.run_id <> OLD.run_id
    OR NEW.item_type <> OLD.item_type OR NEW.new_to_org <> OLD.new_to_org
    OR (NEW.external_id <> OLD.external_id
      AND NOT (OLD.item_type = 'ebay_seller' AND NEW.external_id = 'erased:' || OLD.id)))
  EXECUTE FUNCTION gleaner_item_illegal();

-- Takes the names from the seller items of an organisation's runs (of all, without one), at most `most` of them. Returns the
-- runs they are in.
CREATE FUNCTION gleaner_erase_items(names text[], org uuid, most integer) RETURNS TABLE (run_id uuid, org_id uuid, items integer)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  WITH found AS MATERIALIZED (
    SELECT i.id, r.id AS run, r.org_id AS owner FROM collection_runs r CROSS JOIN LATERAL (
      SELECT x.id FROM collection_items x
      WHERE x.run_id = r.id AND x.item_type = 'ebay_seller' AND x.external_id = ANY (names)
    ) i
    WHERE org IS NULL OR r.org_id = org LIMIT most
  ), erased AS (
    UPDATE collection_items x SET external_id = 'erased:' || x.id, data = NULL FROM found WHERE x.id = found.id
    RETURNING found.run, found.owner
  )
  SELECT run, owner, count(*)::integer FROM erased GROUP BY run, owner
$$;

-- ============================================================================
-- 5. The Audit Log
-- ============================================================================
-- It stays append-only for everybody. Two functions may touch it, each for one purpose, with a guard of its own: no worker
-- has the privilege itself, and the trigger of 051 lets through what runs inside one of them.
DROP TRIGGER audit_log_final ON audit_log;
CREATE TRIGGER audit_log_final BEFORE UPDATE OR DELETE ON audit_log
  FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND current_setting('gleaner.audit_keeper', true) IS DISTINCT FROM 'on')
  EXECUTE FUNCTION gleaner_append_only();

-- Takes what names an erased seller out of the log: texts that are such a name, and in rows about one of these sellers
-- everything that was said of it. Who did what, and when, stays. Returns the organisations with how many rows were changed.
CREATE FUNCTION gleaner_redact_audit(names text[], targets text[], org uuid) RETURNS TABLE (org_id uuid, changed integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  -- As a whole JSON text, and as a whole word of a sentence; names hold letters, digits and . _ - *
  quoted text := '"(' || array_to_string(ARRAY(
    SELECT regexp_replace(n, '([^[:alnum:]])', '\\\1', 'g') FROM unnest(names) AS n), '|') || ')"';
  worded text := '(?<![[:alnum:]._*-])' || substr(quoted, 2, length(quoted) - 2) || '(?![[:alnum:]_*-])';
BEGIN
  IF cardinality(names) = 0 OR '' = ANY (names) THEN
    RAISE EXCEPTION 'nobody is named' USING ERRCODE = 'GL003';
  END IF;
  PERFORM set_config('gleaner.audit_keeper', 'on', true);
  RETURN QUERY
  WITH changed AS (
    UPDATE audit_log a SET
      before = CASE WHEN a.target = ANY (targets) THEN gleaner_redacted(a.before)
        ELSE regexp_replace(a.before::text, quoted, '"[erased]"', 'gi')::jsonb END,
      after = CASE WHEN a.target = ANY (targets) THEN gleaner_redacted(a.after)
        ELSE regexp_replace(a.after::text, quoted, '"[erased]"', 'gi')::jsonb END,
      note = CASE WHEN a.target = ANY (targets) THEN '[erased]' ELSE regexp_replace(a.note, worded, '[erased]', 'gi') END
    WHERE (org IS NULL OR a.org_id = org) AND (
      (a.target = ANY (targets) AND (a.note IS DISTINCT FROM '[erased]'
        OR a.before IS DISTINCT FROM gleaner_redacted(a.before) OR a.after IS DISTINCT FROM gleaner_redacted(a.after)))
      OR (a.target <> ALL (targets)
        AND (a.before::text ~* quoted OR a.after::text ~* quoted OR a.note ~* worded)))
    RETURNING a.org_id
  )
  SELECT c.org_id, count(*)::integer FROM changed c GROUP BY c.org_id;
  PERFORM set_config('gleaner.audit_keeper', 'off', true);
END
$$;

-- The same fields, and nothing of what was in them.
CREATE FUNCTION gleaner_redacted(told jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT CASE WHEN jsonb_typeof(told) = 'object'
    THEN (SELECT coalesce(jsonb_object_agg(key, '[erased]'), '{}') FROM jsonb_object_keys(told) AS key)
    ELSE NULL END
$$;

-- Removes rows an organisation has kept as long as its own setting says, at most `most` of them. The age is not the
-- caller's to give. Returns how many.
CREATE FUNCTION gleaner_trim_audit(org uuid, most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  days integer := coalesce((SELECT keep_audit_days FROM collection_settings WHERE org_id = org), 400);
  removed integer;
BEGIN
  PERFORM set_config('gleaner.audit_keeper', 'on', true);
  DELETE FROM audit_log WHERE id IN (
    SELECT id FROM audit_log WHERE org_id = org AND at < now() - days * interval '1 day' ORDER BY id LIMIT most);
  GET DIAGNOSTICS removed = ROW_COUNT;
  PERFORM set_config('gleaner.audit_keeper', 'off', true);
  RETURN removed;
END
$$;

-- ============================================================================
-- 6. The Lock Between Booking And Erasing
-- ============================================================================
-- A booking holds this lock, shared with other bookings, until it ends; who puts a seller on a list holds it alone. So a
-- booking either sees the list, or has ended before what it wrote is looked for. In plpgsql, because there each statement
-- has a snapshot of its own: the version is read after the lock was had.
CREATE FUNCTION gleaner_compliance_version() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(724102, 1);
  RETURN (SELECT version FROM compliance_version);
END
$$;

CREATE FUNCTION gleaner_compliance_raise() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  raised bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(724102, 1);
  UPDATE compliance_version SET version = version + 1 RETURNING version INTO raised;
  RETURN raised;
END
$$;

-- ============================================================================
-- 7. Access
-- ============================================================================
ALTER TABLE compliance_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE compliance_tombstones ENABLE ROW LEVEL SECURITY;
ALTER TABLE compliance_do_not_collect ENABLE ROW LEVEL SECURITY;
ALTER TABLE compliance_erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE compliance_sweeps ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON compliance_version, compliance_tombstones, compliance_do_not_collect, compliance_erasures, compliance_sweeps
  FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION gleaner_erase_items(text[], uuid, integer), gleaner_redact_audit(text[], text[], uuid),
  gleaner_redacted(jsonb), gleaner_trim_audit(uuid, integer), gleaner_compliance_version(), gleaner_compliance_raise()
  FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION gleaner_erase_items(text[], uuid, integer), gleaner_redact_audit(text[], text[], uuid),
  gleaner_trim_audit(uuid, integer), gleaner_compliance_version(), gleaner_compliance_raise() TO service_role;

CREATE POLICY compliance_version_service_role ON compliance_version FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY compliance_tombstones_service_role ON compliance_tombstones
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY compliance_do_not_collect_service_role ON compliance_do_not_collect
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY compliance_erasures_service_role ON compliance_erasures
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY compliance_sweeps_service_role ON compliance_sweeps FOR ALL TO service_role USING (true) WITH CHECK (true);

GRANT SELECT, UPDATE (version) ON compliance_version TO service_role;
-- Who was erased stays erased: tombstones go with their organisation only.
GRANT SELECT, INSERT (hash, org_id) ON compliance_tombstones TO service_role;
GRANT SELECT, DELETE,
  INSERT (id, org_id, display_name, normalized_name, note, added_by, removed_seller_id) ON compliance_do_not_collect TO service_role;
GRANT SELECT, INSERT (id, source, notification_id, org_id, requested_by, identity_key_id, identity_nonce, identity_sealed),
  UPDATE (state, identity_key_id, identity_nonce, identity_sealed, attempts, next_at, trouble, rows_gone_at, done_at, counts)
  ON compliance_erasures TO service_role;
GRANT SELECT, INSERT (org_id), UPDATE (next_at, swept_at, trouble, evidence_rows, sellers, audit_rows)
  ON compliance_sweeps TO service_role;
GRANT UPDATE (evidence_removed_at) ON collection_runs TO service_role;
-- An answer that named an erased seller is forgotten; that the request was carried out is not.
GRANT UPDATE (status, headers, answer) ON api_requests TO service_role;

-- Members see whom their organisation does not collect.
CREATE POLICY compliance_do_not_collect_member_read ON compliance_do_not_collect
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY compliance_do_not_collect_claim_org ON compliance_do_not_collect AS RESTRICTIVE FOR ALL TO authenticated
  USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()));
GRANT SELECT ON compliance_do_not_collect TO authenticated;

-- Retention is a setting like the others: admins change it.
GRANT UPDATE (keep_evidence_days, keep_sellers_days, keep_exports_days, keep_audit_days) ON collection_settings TO authenticated;
