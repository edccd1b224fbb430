-- ============================================================================
-- 051: Retries, resolutions of suspect calls, and the audit log
-- ============================================================================

-- ============================================================================
-- 1. Retries
-- ============================================================================
-- A retry is a run of its own, linked to the ended run whose unanswered products
-- it takes up. The runs that go back to one first run are a family: it has at
-- most one open retry, so no product is searched for in two at once.
ALTER TABLE collection_runs
  ADD COLUMN retry_of_run_id uuid REFERENCES collection_runs(id) ON DELETE SET NULL,
  ADD COLUMN retry_root_run_id uuid REFERENCES collection_runs(id) ON DELETE SET NULL,
  ADD COLUMN contradicted_micros bigint NOT NULL DEFAULT 0
    CONSTRAINT collection_runs_contradicted_range CHECK (contradicted_micros >= 0);

COMMENT ON COLUMN collection_runs.retry_of_run_id IS 'The ended run whose unanswered products this run takes up.';
COMMENT ON COLUMN collection_runs.retry_root_run_id IS 'The first run of the family of retries. Set by trigger.';
COMMENT ON COLUMN collection_runs.contradicted_micros IS 'What answers proved to be charged, up to the hold, for calls a person had settled as less. Kept by trigger.';

CREATE INDEX idx_collection_runs_retry_of_run_id ON collection_runs(retry_of_run_id) WHERE retry_of_run_id IS NOT NULL;
CREATE INDEX idx_collection_runs_retry_root_run_id ON collection_runs(retry_root_run_id) WHERE retry_root_run_id IS NOT NULL;
CREATE UNIQUE INDEX collection_runs_one_open_retry ON collection_runs(retry_root_run_id)
  WHERE retry_root_run_id IS NOT NULL AND status IN ('pending', 'running', 'paused');

CREATE FUNCTION gleaner_run_retry() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  parent record;
BEGIN
  IF NEW.contradicted_micros <> 0 THEN
    RAISE EXCEPTION 'money of a run is kept by the database and begins at zero' USING ERRCODE = 'GL003';
  END IF;
  IF NEW.retry_of_run_id IS NULL THEN
    NEW.retry_root_run_id := NULL;
    RETURN NEW;
  END IF;
  SELECT org_id, status, held_calls, coalesce(retry_root_run_id, id) AS root INTO parent
    FROM collection_runs WHERE id = NEW.retry_of_run_id;
  IF parent.org_id IS DISTINCT FROM NEW.org_id THEN
    RAISE EXCEPTION 'a retry belongs to the organisation of the run it retries' USING ERRCODE = 'GL002';
  END IF;
  IF parent.status NOT IN ('completed', 'failed', 'cancelled') OR parent.held_calls > 0 THEN
    RAISE EXCEPTION 'only a run that has ended, with nothing in flight, can be retried' USING ERRCODE = 'GL002';
  END IF;
  NEW.retry_root_run_id := parent.root;
  RETURN NEW;
END
$$;

CREATE TRIGGER collection_runs_retry BEFORE INSERT ON collection_runs
  FOR EACH ROW WHEN (NEW.retry_of_run_id IS NOT NULL OR NEW.retry_root_run_id IS NOT NULL OR NEW.contradicted_micros <> 0)
  EXECUTE FUNCTION gleaner_run_retry();

-- Like what 039 keeps. A deleted parent sets the links to null, which is a trigger's doing.
CREATE TRIGGER collection_runs_links_kept BEFORE UPDATE ON collection_runs
  FOR EACH ROW WHEN (
    pg_trigger_depth() = 0 AND
    (OLD.retry_of_run_id, OLD.retry_root_run_id, OLD.contradicted_micros)
    IS DISTINCT FROM (NEW.retry_of_run_id, NEW.retry_root_run_id, NEW.contradicted_micros))
  EXECUTE FUNCTION gleaner_run_kept();

-- ============================================================================
-- 2. The Cap, And Answers That Contradict A Person
-- ============================================================================
-- A person may settle a suspect call as not charged, and its money is free for
-- other calls. When its answer comes after all and proves a charge, that money
-- is gone whatever we write: it is booked, and shown, like a breach (ADR 0011).
ALTER TABLE collection_runs DROP CONSTRAINT collection_runs_within_cap;
ALTER TABLE collection_runs ADD CONSTRAINT collection_runs_within_cap
  CHECK (spent_micros + held_micros + suspect_micros <= cap_micros + breach_micros + contradicted_micros);

-- The month the call counts to, too. What its runs brought stays with the month when they are deleted: so this never falls.
ALTER TABLE collection_months
  ADD COLUMN contradicted_micros bigint NOT NULL DEFAULT 0
    CONSTRAINT collection_months_contradicted_range CHECK (contradicted_micros >= 0),
  DROP CONSTRAINT collection_months_within_cap,
  ADD CONSTRAINT collection_months_within_cap CHECK (
    spent_micros + held_micros + suspect_micros + deleted_micros
      <= cap_micros + breach_micros + deleted_breach_micros + contradicted_micros);

COMMENT ON COLUMN collection_months.contradicted_micros IS 'What answers proved to be charged, up to the hold, for calls a person had settled as less; of deleted runs too.';

ALTER TABLE collection_calls
  ADD COLUMN resolved_micros bigint,
  ADD COLUMN overruled_at timestamptz,
  ADD CONSTRAINT collection_calls_resolved_range CHECK (resolved_micros BETWEEN 0 AND hold_micros),
  ADD CONSTRAINT collection_calls_resolved_fits_state CHECK (resolved_micros IS NULL OR state IN ('settled', 'released')),
  ADD CONSTRAINT collection_calls_overruled_fits CHECK (overruled_at IS NULL OR resolved_micros IS NOT NULL);

COMMENT ON COLUMN collection_calls.resolved_micros IS 'Of its hold, what a resolution left counted; null when the call was never resolved.';
COMMENT ON COLUMN collection_calls.overruled_at IS 'When an answer came after the resolution and proved a higher charge.';

-- As in 041, and: a resolved call may once be settled higher by its answer; resolved_micros comes from a resolution only.
DROP TRIGGER collection_calls_illegal ON collection_calls;
CREATE TRIGGER collection_calls_illegal BEFORE UPDATE ON collection_calls
  FOR EACH ROW WHEN (
    CASE WHEN OLD.overruled_at IS DISTINCT FROM NEW.overruled_at THEN
      OLD.resolved_micros IS NULL OR OLD.overruled_at IS NOT NULL OR NEW.state <> 'settled'
        OR coalesce(NEW.charge_micros, 0) <= coalesce(OLD.charge_micros, 0)
    ELSE
      NOT (NEW.state = OLD.state OR OLD.state = 'held'
        OR (OLD.state = 'suspect' AND NEW.state IN ('settled', 'released')))
      OR (NEW.state = OLD.state AND NEW.charge_micros IS DISTINCT FROM OLD.charge_micros)
    END
    OR (NEW.resolved_micros IS DISTINCT FROM OLD.resolved_micros
      AND (pg_trigger_depth() = 0 OR OLD.state <> 'suspect'))
    OR NEW.id <> OLD.id OR NEW.run_id <> OLD.run_id OR NEW.account_id <> OLD.account_id
    OR NEW.item_id IS DISTINCT FROM OLD.item_id OR NEW.category_id IS DISTINCT FROM OLD.category_id
    OR NEW.hold_micros <> OLD.hold_micros OR NEW.epoch <> OLD.epoch OR NEW.held_at <> OLD.held_at)
  EXECUTE FUNCTION gleaner_call_illegal();

-- Runs before collection_calls_updated, which adds to what is spent: the cap has made room by then.
CREATE FUNCTION gleaner_call_overruled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  more bigint := NEW.charge_micros - coalesce(OLD.charge_micros, 0);
  uncounted bigint := greatest(least(NEW.charge_micros, NEW.hold_micros) - NEW.resolved_micros, 0);
  org uuid;
BEGIN
  UPDATE collection_items SET cost_micros = cost_micros + more, cost_cents = ceil((cost_micros + more) / 10000.0)
    WHERE id = NEW.item_id;
  UPDATE collection_runs SET contradicted_micros = contradicted_micros + uncounted WHERE id = NEW.run_id RETURNING org_id INTO org;
  UPDATE collection_months SET contradicted_micros = contradicted_micros + uncounted
    WHERE org_id = org AND month = date_trunc('month', NEW.held_at AT TIME ZONE 'UTC')::date;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_calls_overruled AFTER UPDATE ON collection_calls
  FOR EACH ROW WHEN (OLD.overruled_at IS NULL AND NEW.overruled_at IS NOT NULL)
  EXECUTE FUNCTION gleaner_call_overruled();

-- ============================================================================
-- 3. Collection Call Resolutions
-- ============================================================================
-- Who, or what, settled a suspect call: once, and for good. Writing the row is
-- what moves the money, so there is no resolution without its booking.
CREATE TABLE collection_call_resolutions (
  call_id uuid NOT NULL CONSTRAINT collection_call_resolutions_pkey PRIMARY KEY
    REFERENCES collection_calls(id) ON DELETE CASCADE,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- A person's word, or what the provider's own report proves.
  how text NOT NULL CONSTRAINT collection_call_resolutions_how_known CHECK (how IN ('person', 'report')),
  -- Not a foreign key: the row outlives the person.
  actor_id uuid,
  verdict text NOT NULL
    CONSTRAINT collection_call_resolutions_verdict_known CHECK (verdict IN ('charged', 'not_charged')),
  amount_micros bigint CONSTRAINT collection_call_resolutions_amount_range CHECK (amount_micros BETWEEN 0 AND 1000000000000),
  note text NOT NULL
    CONSTRAINT collection_call_resolutions_note_length CHECK (char_length(btrim(note)) BETWEEN 1 AND 1000),
  CONSTRAINT collection_call_resolutions_amount_fits CHECK ((verdict = 'charged') = (amount_micros IS NOT NULL)),
  CONSTRAINT collection_call_resolutions_has_author CHECK (how = 'report' OR actor_id IS NOT NULL)
);

COMMENT ON TABLE collection_call_resolutions IS 'How suspect calls were settled, when no answer came: by whom, as what, and why. Append-only.';

CREATE FUNCTION gleaner_calls_resolved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  moved integer;
BEGIN
  UPDATE collection_items i SET
    cost_micros = i.cost_micros + d.micros,
    cost_cents = ceil((i.cost_micros + d.micros) / 10000.0)
  FROM (
    SELECT c.item_id, sum(r.amount_micros)::bigint AS micros
    FROM inserted r JOIN collection_calls c ON c.id = r.call_id
    WHERE r.amount_micros > 0 AND c.item_id IS NOT NULL GROUP BY c.item_id
  ) d WHERE i.id = d.item_id;
  UPDATE collection_calls c SET
    state = CASE r.verdict WHEN 'charged' THEN 'settled' ELSE 'released' END,
    charge_micros = r.amount_micros,
    resolved_micros = least(coalesce(r.amount_micros, 0), c.hold_micros)
  FROM inserted r WHERE c.id = r.call_id AND c.state = 'suspect';
  GET DIAGNOSTICS moved = ROW_COUNT;
  IF moved <> (SELECT count(*) FROM inserted) THEN
    RAISE EXCEPTION 'only a suspect call can be resolved' USING ERRCODE = 'GL002';
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_call_resolutions_inserted AFTER INSERT ON collection_call_resolutions
  REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION gleaner_calls_resolved();

-- ============================================================================
-- 4. Audit Log
-- ============================================================================
-- Every act of a person, in the transaction of the act: who, what, before, after.
CREATE TABLE audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_log_pkey PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Not a foreign key: the row outlives the person.
  actor_id uuid NOT NULL,
  action text NOT NULL CONSTRAINT audit_log_action_form CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
  target text NOT NULL CONSTRAINT audit_log_target_form CHECK (target ~ '^[a-z_]+:\S{1,200}$'),
  before jsonb,
  after jsonb,
  note text CONSTRAINT audit_log_note_length CHECK (char_length(note) <= 1000)
);

COMMENT ON TABLE audit_log IS 'Every act of a person, written in the transaction of the act. Append-only.';
COMMENT ON COLUMN audit_log.target IS 'What was acted on, as kind:id, e.g. run:0192...';
COMMENT ON COLUMN audit_log.before IS 'The fields the act changed, as they were; `after` as they are.';

CREATE INDEX idx_audit_log_org_id ON audit_log(org_id, id);
CREATE INDEX idx_audit_log_target ON audit_log(target, id);

-- Rows go only with their call or their organisation, also for the owner of the tables.
CREATE FUNCTION gleaner_append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are facts: they are never changed nor removed', TG_TABLE_NAME USING ERRCODE = 'GL003';
END
$$;

CREATE TRIGGER audit_log_final BEFORE UPDATE OR DELETE ON audit_log
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_append_only();
CREATE TRIGGER collection_call_resolutions_final BEFORE UPDATE OR DELETE ON collection_call_resolutions
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_append_only();

-- ============================================================================
-- 5. Access
-- ============================================================================
ALTER TABLE collection_call_resolutions ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON collection_call_resolutions, audit_log FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION gleaner_call_overruled(), gleaner_calls_resolved() FROM PUBLIC, anon, authenticated, service_role;

-- Workers add and read. The moment is the database's, so it is not theirs to give.
CREATE POLICY collection_call_resolutions_service_role ON collection_call_resolutions
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY audit_log_service_role ON audit_log
  FOR ALL TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT (call_id, how, actor_id, verdict, amount_micros, note) ON collection_call_resolutions TO service_role;
GRANT SELECT, INSERT (org_id, actor_id, action, target, before, after, note) ON audit_log TO service_role;
GRANT UPDATE (overruled_at) ON collection_calls TO service_role;

-- Members see how calls of their runs were settled; who did what is for those who answer for the organisation.
CREATE POLICY collection_call_resolutions_member_read ON collection_call_resolutions
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_calls c WHERE c.id = call_id));
CREATE POLICY audit_log_admin_read ON audit_log
  FOR SELECT TO authenticated USING (member_role(org_id) IN ('owner', 'admin'));
GRANT SELECT ON collection_call_resolutions, audit_log TO authenticated;
