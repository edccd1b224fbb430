-- ============================================================================
-- 047: A cap for an organisation's month
-- ============================================================================
-- Beside the cap of each run stands one for all runs of an organisation in a
-- calendar month (UTC), off unless it is set. It is kept the same way: one row
-- per organisation and month follows the rows of collection_calls by trigger,
-- the hold is taken in an UPDATE whose WHERE carries the cap, and a CHECK on the
-- row stands behind it. A call belongs to the month of its held_at, also when it
-- is booked in the next one. docs/adr/0010 says why.
--
-- Lock order: runs by id, then months. GL006: not enough left under the month cap.
-- ============================================================================

-- ============================================================================
-- 1. Columns
-- ============================================================================
ALTER TABLE collection_settings
  ADD COLUMN month_cap_micros bigint,
  ADD CONSTRAINT collection_settings_month_cap_range CHECK (month_cap_micros BETWEEN 0 AND 1000000000000);

COMMENT ON COLUMN collection_settings.month_cap_micros IS 'The most all runs together may spend in a calendar month (UTC); null = no such cap.';

ALTER TABLE collection_runs
  ADD COLUMN pause_limit text,
  ADD COLUMN pause_needs_micros bigint,
  ADD CONSTRAINT collection_runs_pause_limit_known CHECK (pause_limit IN ('run', 'month')),
  ADD CONSTRAINT collection_runs_pause_limit_is_budget
    CHECK ((pause_limit IS NULL OR pause_reason = 'budget') IS TRUE),
  ADD CONSTRAINT collection_runs_pause_needs_range CHECK (pause_needs_micros >= 0);

COMMENT ON COLUMN collection_runs.pause_limit IS 'Of a pause by budget: which cap leaves less than one call, that of the run or of the month.';
COMMENT ON COLUMN collection_runs.pause_needs_micros IS 'Of a pause by the month cap: the price of the cheapest call it could make. It goes on when so much is left.';

CREATE FUNCTION gleaner_run_pause_ends() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  NEW.pause_limit := NULL;
  NEW.pause_needs_micros := NULL;
  RETURN NEW;
END
$$;

CREATE TRIGGER collection_runs_pause_ends BEFORE UPDATE OF status ON collection_runs
  FOR EACH ROW WHEN (OLD.status = 'paused' AND NEW.status <> 'paused') EXECUTE FUNCTION gleaner_run_pause_ends();

-- ============================================================================
-- 2. Collection Months
-- ============================================================================
-- A hot row: room on its page for the next version keeps updates off the index.
CREATE TABLE collection_months (
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  month date NOT NULL CONSTRAINT collection_months_first_day CHECK (extract(day FROM month) = 1),
  cap_micros bigint CONSTRAINT collection_months_cap_range CHECK (cap_micros >= 0),
  spent_micros bigint NOT NULL DEFAULT 0,
  held_micros bigint NOT NULL DEFAULT 0,
  suspect_micros bigint NOT NULL DEFAULT 0,
  breach_micros bigint NOT NULL DEFAULT 0,
  deleted_micros bigint NOT NULL DEFAULT 0,
  deleted_breach_micros bigint NOT NULL DEFAULT 0,
  held_calls integer NOT NULL DEFAULT 0,
  settled_calls integer NOT NULL DEFAULT 0,
  released_calls integer NOT NULL DEFAULT 0,
  suspect_calls integer NOT NULL DEFAULT 0,
  CONSTRAINT collection_months_pkey PRIMARY KEY (org_id, month),
  CONSTRAINT collection_months_not_negative CHECK (
    spent_micros >= 0 AND held_micros >= 0 AND suspect_micros >= 0 AND breach_micros >= 0 AND deleted_micros >= 0
    AND deleted_breach_micros >= 0 AND held_calls >= 0 AND settled_calls >= 0 AND released_calls >= 0 AND suspect_calls >= 0),
  -- As on a run: only a provider that charges above its own price list can pass it, by exactly what it overcharged.
  CONSTRAINT collection_months_within_cap CHECK (
    spent_micros + held_micros + suspect_micros + deleted_micros <= cap_micros + breach_micros + deleted_breach_micros)
) WITH (fillfactor = 30);

COMMENT ON TABLE collection_months IS 'What an organisation''s calls of one calendar month (UTC, by held_at) cost, and the cap on it. Kept by trigger.';
COMMENT ON COLUMN collection_months.month IS 'First day of the month.';
COMMENT ON COLUMN collection_months.cap_micros IS 'collection_settings.month_cap_micros as long as the month lasts; null = no cap.';
COMMENT ON COLUMN collection_months.deleted_micros IS 'Settled, held and suspect money of calls that were deleted with their run: it still counts.';
COMMENT ON COLUMN collection_months.deleted_breach_micros IS 'What providers charged above the hold for calls that were deleted with their run.';

INSERT INTO collection_months (org_id, month, spent_micros, held_micros, suspect_micros, breach_micros,
  held_calls, settled_calls, released_calls, suspect_calls)
SELECT r.org_id, date_trunc('month', c.held_at AT TIME ZONE 'UTC')::date,
  coalesce(sum(c.charge_micros) FILTER (WHERE c.state = 'settled'), 0),
  coalesce(sum(c.hold_micros) FILTER (WHERE c.state = 'held'), 0),
  coalesce(sum(c.hold_micros) FILTER (WHERE c.state = 'suspect'), 0),
  coalesce(sum(greatest(c.charge_micros - c.hold_micros, 0)) FILTER (WHERE c.state = 'settled'), 0),
  count(*) FILTER (WHERE c.state = 'held'), count(*) FILTER (WHERE c.state = 'settled'),
  count(*) FILTER (WHERE c.state = 'released'), count(*) FILTER (WHERE c.state = 'suspect')
FROM collection_calls c JOIN collection_runs r ON r.id = c.run_id GROUP BY 1, 2;

CREATE FUNCTION gleaner_month_kept() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the money of a month is kept by the database' USING ERRCODE = 'GL003',
    HINT = 'It follows the rows of collection_calls, and its cap that of collection_settings.';
END
$$;

CREATE TRIGGER collection_months_kept BEFORE UPDATE OR DELETE ON collection_months
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_month_kept();

-- ============================================================================
-- 3. The Cap Follows The Setting
-- ============================================================================
-- A month's row takes the cap when it is made, and a change of the setting writes it to every row from this month on.
-- Neither locks the settings for the other. They meet in the primary key instead: the change also makes the rows of this
-- month and the next, so a claim that would make one of them at the same moment, from the setting as it was, finds it or
-- waits for it. Two months, because the clock may turn between the change and its commit.
CREATE FUNCTION gleaner_open_month(p_org uuid, p_month date) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  INSERT INTO collection_months (org_id, month, cap_micros)
  VALUES (p_org, p_month, (SELECT month_cap_micros FROM collection_settings WHERE org_id = p_org))
  ON CONFLICT (org_id, month) DO NOTHING
$$;

CREATE FUNCTION gleaner_month_cap_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  this_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
  -- Settings that are gone, or are another organisation's now, cap nothing.
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.org_id <> NEW.org_id) THEN
    UPDATE collection_months SET cap_micros = NULL WHERE org_id = OLD.org_id AND month >= this_month;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO collection_months (org_id, month, cap_micros)
    SELECT NEW.org_id, m::date, NEW.month_cap_micros FROM unnest(ARRAY[this_month, this_month + interval '1 month']) AS m
    ON CONFLICT (org_id, month) DO UPDATE SET cap_micros = excluded.cap_micros;
    UPDATE collection_months SET cap_micros = NEW.month_cap_micros
    WHERE org_id = NEW.org_id AND month > this_month + interval '1 month';
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_settings_month_cap_begins AFTER INSERT ON collection_settings
  FOR EACH ROW WHEN (NEW.month_cap_micros IS NOT NULL) EXECUTE FUNCTION gleaner_month_cap_changed();
CREATE TRIGGER collection_settings_month_cap_changes AFTER UPDATE ON collection_settings
  FOR EACH ROW WHEN (NEW.month_cap_micros IS DISTINCT FROM OLD.month_cap_micros OR NEW.org_id <> OLD.org_id)
  EXECUTE FUNCTION gleaner_month_cap_changed();
CREATE TRIGGER collection_settings_month_cap_ends AFTER DELETE ON collection_settings
  FOR EACH ROW WHEN (OLD.month_cap_micros IS NOT NULL) EXECUTE FUNCTION gleaner_month_cap_changed();

-- What the month cap leaves now, or null where there is none. When there is one, the month's row stays locked until the
-- transaction ends: what a claim sees here is what its hold will meet. Call it with the run's row locked.
CREATE FUNCTION gleaner_month_left(p_org uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  this_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
  left_micros bigint;
BEGIN
  LOOP
    SELECT cap_micros - spent_micros - held_micros - suspect_micros - deleted_micros INTO left_micros
      FROM collection_months WHERE org_id = p_org AND month = this_month AND cap_micros IS NOT NULL
      FOR NO KEY UPDATE;
    IF FOUND THEN
      RETURN left_micros;
    ELSIF EXISTS (SELECT FROM collection_months WHERE org_id = p_org AND month = this_month) THEN
      RETURN NULL;
    END IF;
    PERFORM gleaner_open_month(p_org, this_month);
  END LOOP;
END
$$;

-- ============================================================================
-- 4. Holds
-- ============================================================================
CREATE OR REPLACE FUNCTION gleaner_calls_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  wanted record;
  run record;
  left_micros bigint;
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
  -- All runs before the first month: two statements over several runs of one organisation cannot wait for each other.
  FOR wanted IN
    SELECT r.org_id, i.month, sum(i.micros)::bigint AS micros, sum(i.calls)::int AS calls
    FROM (
      SELECT run_id, date_trunc('month', held_at AT TIME ZONE 'UTC')::date AS month, sum(hold_micros) AS micros, count(*) AS calls
      FROM inserted GROUP BY 1, 2
    ) i JOIN collection_runs r ON r.id = i.run_id
    GROUP BY r.org_id, i.month ORDER BY r.org_id, i.month
  LOOP
    LOOP
      UPDATE collection_months SET held_micros = held_micros + wanted.micros, held_calls = held_calls + wanted.calls
      WHERE org_id = wanted.org_id AND month = wanted.month
        -- A hold of nothing fits also where a provider's overcharge took the month beyond its cap.
        AND (cap_micros IS NULL OR wanted.micros = 0
          OR spent_micros + held_micros + suspect_micros + deleted_micros + wanted.micros <= cap_micros);
      EXIT WHEN FOUND;
      SELECT cap_micros - spent_micros - held_micros - suspect_micros - deleted_micros INTO left_micros
        FROM collection_months WHERE org_id = wanted.org_id AND month = wanted.month;
      IF FOUND THEN
        RAISE EXCEPTION 'a hold of % micro-dollars does not fit: % left under the month cap', wanted.micros, left_micros
          USING ERRCODE = 'GL006';
      END IF;
      PERFORM gleaner_open_month(wanted.org_id, wanted.month);
    END LOOP;
  END LOOP;
  RETURN NULL;
END
$$;

-- ============================================================================
-- 5. Bookings
-- ============================================================================
-- One statement for both levels: the aggregate over `runs` waits for the last run before the first month is touched.
CREATE OR REPLACE FUNCTION gleaner_calls_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  WITH moved AS MATERIALIZED (
    SELECT run_id, date_trunc('month', held_at AT TIME ZONE 'UTC')::date AS month,
      coalesce(sum(sign * charge_micros) FILTER (WHERE state = 'settled'), 0)::bigint AS spent,
      coalesce(sum(sign * hold_micros) FILTER (WHERE state = 'held'), 0)::bigint AS held,
      coalesce(sum(sign * hold_micros) FILTER (WHERE state = 'suspect'), 0)::bigint AS suspect,
      coalesce(sum(sign * greatest(charge_micros - hold_micros, 0)) FILTER (WHERE state = 'settled'), 0)::bigint AS breach,
      coalesce(sum(sign) FILTER (WHERE state = 'held'), 0)::int AS held_calls,
      coalesce(sum(sign) FILTER (WHERE state = 'settled'), 0)::int AS settled_calls,
      coalesce(sum(sign) FILTER (WHERE state = 'released'), 0)::int AS released_calls,
      coalesce(sum(sign) FILTER (WHERE state = 'suspect'), 0)::int AS suspect_calls
    FROM (
      SELECT run_id, held_at, state, hold_micros, charge_micros, 1 AS sign FROM after
      UNION ALL
      SELECT run_id, held_at, state, hold_micros, charge_micros, -1 FROM before
    ) both_sides GROUP BY 1, 2
  ), runs AS (
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
      SELECT run_id, sum(spent)::bigint AS spent, sum(held)::bigint AS held, sum(suspect)::bigint AS suspect,
        sum(breach)::bigint AS breach, sum(held_calls)::int AS held_calls, sum(settled_calls)::int AS settled_calls,
        sum(released_calls)::int AS released_calls, sum(suspect_calls)::int AS suspect_calls
      FROM moved GROUP BY run_id
    ) d WHERE r.id = d.run_id
    RETURNING r.id, r.org_id
  )
  UPDATE collection_months m SET
    spent_micros = m.spent_micros + d.spent,
    held_micros = m.held_micros + d.held,
    suspect_micros = m.suspect_micros + d.suspect,
    breach_micros = m.breach_micros + d.breach,
    held_calls = m.held_calls + d.held_calls,
    settled_calls = m.settled_calls + d.settled_calls,
    released_calls = m.released_calls + d.released_calls,
    suspect_calls = m.suspect_calls + d.suspect_calls
  FROM (
    SELECT runs.org_id, moved.month, sum(spent)::bigint AS spent, sum(held)::bigint AS held, sum(suspect)::bigint AS suspect,
      sum(breach)::bigint AS breach, sum(held_calls)::int AS held_calls, sum(settled_calls)::int AS settled_calls,
      sum(released_calls)::int AS released_calls, sum(suspect_calls)::int AS suspect_calls
    FROM runs JOIN moved ON moved.run_id = runs.id GROUP BY runs.org_id, moved.month
  ) d WHERE m.org_id = d.org_id AND m.month = d.month;
  RETURN NULL;
END
$$;

-- ============================================================================
-- 6. Runs That Are Deleted
-- ============================================================================
-- Their calls go with them and their money does not come back.
CREATE FUNCTION gleaner_run_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE collection_months m SET
    spent_micros = m.spent_micros - d.spent,
    held_micros = m.held_micros - d.held,
    suspect_micros = m.suspect_micros - d.suspect,
    breach_micros = m.breach_micros - d.breach,
    deleted_micros = m.deleted_micros + d.spent + d.held + d.suspect,
    deleted_breach_micros = m.deleted_breach_micros + d.breach,
    held_calls = m.held_calls - d.held_calls,
    settled_calls = m.settled_calls - d.settled_calls,
    released_calls = m.released_calls - d.released_calls,
    suspect_calls = m.suspect_calls - d.suspect_calls
  FROM (
    SELECT date_trunc('month', held_at AT TIME ZONE 'UTC')::date AS month,
      coalesce(sum(charge_micros) FILTER (WHERE state = 'settled'), 0)::bigint AS spent,
      coalesce(sum(hold_micros) FILTER (WHERE state = 'held'), 0)::bigint AS held,
      coalesce(sum(hold_micros) FILTER (WHERE state = 'suspect'), 0)::bigint AS suspect,
      coalesce(sum(greatest(charge_micros - hold_micros, 0)) FILTER (WHERE state = 'settled'), 0)::bigint AS breach,
      count(*) FILTER (WHERE state = 'held') AS held_calls,
      count(*) FILTER (WHERE state = 'settled') AS settled_calls,
      count(*) FILTER (WHERE state = 'released') AS released_calls,
      count(*) FILTER (WHERE state = 'suspect') AS suspect_calls
    FROM collection_calls WHERE run_id = OLD.id GROUP BY 1
  ) d WHERE m.org_id = OLD.org_id AND m.month = d.month;
  RETURN OLD;
END
$$;

CREATE TRIGGER collection_runs_deleted BEFORE DELETE ON collection_runs
  FOR EACH ROW EXECUTE FUNCTION gleaner_run_deleted();

-- ============================================================================
-- 7. Access
-- ============================================================================
ALTER TABLE collection_months ENABLE ROW LEVEL SECURITY;
CREATE POLICY collection_months_service_role ON collection_months FOR SELECT TO service_role USING (true);
CREATE POLICY collection_months_member_read ON collection_months
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));

REVOKE ALL ON collection_months FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON collection_months TO service_role, authenticated;
GRANT UPDATE (pause_limit, pause_needs_micros) ON collection_runs TO service_role;

-- The moment of a call decides which month it counts to, so only the database's clock gives it.
REVOKE INSERT ON collection_calls FROM service_role;
GRANT INSERT (id, run_id, account_id, item_id, category_id, worker_id, epoch, attempt, rung, state, hold_micros,
  charge_micros, outcome, lease_until, request, booked_at) ON collection_calls TO service_role;

REVOKE ALL ON FUNCTION gleaner_open_month(uuid, date), gleaner_month_cap_changed(), gleaner_month_left(uuid), gleaner_run_deleted()
  FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION gleaner_month_left(uuid) TO service_role;
