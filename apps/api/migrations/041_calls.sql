-- ============================================================================
-- 041: Calls: the ledger
-- ============================================================================
-- One row per request to a provider, written before anything is sent. The money
-- of a run is the sum over these rows, kept on the run by the triggers below;
-- the cap is checked in the same statement that takes the hold.
--
--   held -> settled | released | suspect        suspect -> settled | released
-- ============================================================================

-- ============================================================================
-- 1. Collection Calls
-- ============================================================================
CREATE TABLE collection_calls (
  id uuid PRIMARY KEY,
  run_id uuid NOT NULL REFERENCES collection_runs(id) ON DELETE CASCADE,
  -- One of the two accounts of the run, whose foreign keys keep the account from being deleted.
  account_id uuid NOT NULL,
  item_id uuid REFERENCES collection_items(id) ON DELETE CASCADE,
  category_id uuid REFERENCES collection_run_categories(id) ON DELETE CASCADE,
  worker_id uuid NOT NULL,
  epoch integer NOT NULL,
  attempt integer NOT NULL,
  rung smallint,
  state text NOT NULL DEFAULT 'held'
    CONSTRAINT collection_calls_state_known CHECK (state IN ('held', 'settled', 'released', 'suspect')),
  hold_micros bigint NOT NULL CONSTRAINT collection_calls_hold_range CHECK (hold_micros >= 0),
  charge_micros bigint CONSTRAINT collection_calls_charge_range CHECK (charge_micros >= 0),
  outcome text,
  error_code text,
  error_message text,
  request jsonb,
  -- Not now(), when the claim began: it may have waited since, for the very booking that freed its item.
  held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until timestamptz NOT NULL,
  booked_at timestamptz,
  duration_ms integer CONSTRAINT collection_calls_duration_range CHECK (duration_ms >= 0),
  CONSTRAINT collection_calls_one_target CHECK (num_nonnulls(item_id, category_id) = 1),
  CONSTRAINT collection_calls_charge_fits_state CHECK ((state = 'settled') = (charge_micros IS NOT NULL)),
  CONSTRAINT collection_calls_booked_fits_state CHECK ((state = 'held') = (booked_at IS NULL)),
  CONSTRAINT collection_calls_outcome_known CHECK (outcome IN ('found', 'none', 'blocked', 'drift', 'rejected',
    'throttled', 'quota', 'credentials', 'fault', 'unreachable', 'lost', 'unsent'))
);

COMMENT ON TABLE collection_calls IS 'The ledger: one row per request to a provider, durable before it is sent.';
COMMENT ON COLUMN collection_calls.id IS 'Made by us; sent as x-request-id; the idempotency key where a provider takes one.';
COMMENT ON COLUMN collection_calls.hold_micros IS 'The most the request can cost by the price list.';
COMMENT ON COLUMN collection_calls.charge_micros IS 'What it did cost. Above the hold: a breach of the price list.';
COMMENT ON COLUMN collection_calls.lease_until IS 'After this moment, or when its worker is dead, a held call becomes suspect.';
COMMENT ON COLUMN collection_calls.request IS 'What was asked: query, window, rung, or category and step.';

CREATE INDEX idx_collection_calls_run_id ON collection_calls(run_id);
CREATE INDEX idx_collection_calls_item_id ON collection_calls(item_id) WHERE item_id IS NOT NULL;
CREATE INDEX idx_collection_calls_category_id ON collection_calls(category_id) WHERE category_id IS NOT NULL;
CREATE INDEX idx_collection_calls_held ON collection_calls(run_id, lease_until) WHERE state = 'held';
CREATE INDEX idx_collection_calls_suspect ON collection_calls(run_id) WHERE state = 'suspect';

-- ============================================================================
-- 2. Holds
-- ============================================================================
CREATE FUNCTION gleaner_calls_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  wanted record;
  run record;
BEGIN
  IF EXISTS (SELECT FROM inserted WHERE state <> 'held') THEN
    RAISE EXCEPTION 'a call begins as held' USING ERRCODE = 'GL002';
  END IF;
  FOR wanted IN SELECT run_id, sum(hold_micros)::bigint AS micros, count(*)::int AS calls FROM inserted GROUP BY run_id ORDER BY run_id
  LOOP
    UPDATE collection_runs SET held_micros = held_micros + wanted.micros, held_calls = held_calls + wanted.calls
    WHERE id = wanted.run_id AND status = 'running'
      AND spent_micros + held_micros + suspect_micros + wanted.micros <= cap_micros;
    IF NOT FOUND THEN
      SELECT status, cap_micros - spent_micros - held_micros - suspect_micros AS left_micros INTO run
        FROM collection_runs WHERE id = wanted.run_id;
      IF run.status IS DISTINCT FROM 'running' THEN
        RAISE EXCEPTION 'a % run takes no new calls', coalesce(run.status, 'missing') USING ERRCODE = 'GL004';
      END IF;
      RAISE EXCEPTION 'a hold of % micro-dollars does not fit: % left under the cap', wanted.micros, run.left_micros
        USING ERRCODE = 'GL001';
    END IF;
  END LOOP;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_calls_inserted AFTER INSERT ON collection_calls
  REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION gleaner_calls_inserted();

-- ============================================================================
-- 3. Bookings
-- ============================================================================
CREATE FUNCTION gleaner_call_illegal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF NEW.state <> OLD.state THEN
    RAISE EXCEPTION 'a call cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'GL002';
  END IF;
  RAISE EXCEPTION 'what a call is, and its booked money, never change' USING ERRCODE = 'GL003';
END
$$;

CREATE TRIGGER collection_calls_illegal BEFORE UPDATE ON collection_calls
  FOR EACH ROW WHEN (
    NOT (NEW.state = OLD.state OR OLD.state = 'held'
      OR (OLD.state = 'suspect' AND NEW.state IN ('settled', 'released')))
    OR (NEW.state = OLD.state AND NEW.charge_micros IS DISTINCT FROM OLD.charge_micros)
    OR NEW.id <> OLD.id OR NEW.run_id <> OLD.run_id OR NEW.account_id <> OLD.account_id
    OR NEW.item_id IS DISTINCT FROM OLD.item_id OR NEW.category_id IS DISTINCT FROM OLD.category_id
    OR NEW.hold_micros <> OLD.hold_micros OR NEW.epoch <> OLD.epoch OR NEW.held_at <> OLD.held_at)
  EXECUTE FUNCTION gleaner_call_illegal();

CREATE FUNCTION gleaner_calls_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  UPDATE collection_runs r SET
    spent_micros = r.spent_micros + d.spent,
    actual_cost_cents = ceil((r.spent_micros + d.spent) / 10000.0),
    held_micros = r.held_micros + d.held,
    suspect_micros = r.suspect_micros + d.suspect,
    breach_micros = r.breach_micros + d.breach,
    held_calls = r.held_calls + d.held_calls,
    settled_calls = r.settled_calls + d.settled_calls,
    released_calls = r.released_calls + d.released_calls,
    suspect_calls = r.suspect_calls + d.suspect_calls
  FROM (
    SELECT run_id,
      coalesce(sum(sign * charge_micros) FILTER (WHERE state = 'settled'), 0)::bigint AS spent,
      coalesce(sum(sign * hold_micros) FILTER (WHERE state = 'held'), 0)::bigint AS held,
      coalesce(sum(sign * hold_micros) FILTER (WHERE state = 'suspect'), 0)::bigint AS suspect,
      coalesce(sum(sign * greatest(charge_micros - hold_micros, 0)) FILTER (WHERE state = 'settled'), 0)::bigint AS breach,
      coalesce(sum(sign) FILTER (WHERE state = 'held'), 0)::int AS held_calls,
      coalesce(sum(sign) FILTER (WHERE state = 'settled'), 0)::int AS settled_calls,
      coalesce(sum(sign) FILTER (WHERE state = 'released'), 0)::int AS released_calls,
      coalesce(sum(sign) FILTER (WHERE state = 'suspect'), 0)::int AS suspect_calls
    FROM (
      SELECT run_id, state, hold_micros, charge_micros, 1 AS sign FROM after
      UNION ALL
      SELECT run_id, state, hold_micros, charge_micros, -1 FROM before
    ) moved GROUP BY run_id
  ) d WHERE r.id = d.run_id;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_calls_updated AFTER UPDATE ON collection_calls
  REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION gleaner_calls_updated();

CREATE TRIGGER collection_calls_only_with_run BEFORE DELETE ON collection_calls
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_only_with_run();
