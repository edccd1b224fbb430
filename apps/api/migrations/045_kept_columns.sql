-- ============================================================================
-- 045: What even a worker cannot write
-- ============================================================================
-- pg_trigger_depth() does not tell our triggers from those a client makes on a
-- temporary table. So the wall is made of privileges: service_role may write
-- the columns the program writes, and no other; what triggers keep is written
-- by functions that run with the rights of their owner. The guards of 039 to
-- 043 stay, against accidents of the owner.
--
-- Adds to the errors of 039: GL005 all places of the organisation are taken.
-- ============================================================================

-- ============================================================================
-- 1. Search Paths
-- ============================================================================
-- A schema for temporary objects that is not named is searched first, for tables and for types. A client could lay a
-- table of its own named collection_runs in front of ours, and its holds would be booked there.
DO $$
DECLARE
  ours record;
BEGIN
  FOR ours IN
    SELECT p.oid::regprocedure AS function,
      CASE WHEN p.proname LIKE 'gleaner\_%' THEN 'pg_catalog, public, pg_temp' ELSE 'pg_catalog, pg_temp' END AS path
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE pg_has_role(p.proowner, 'USAGE') AND (
      (n.nspname = 'public' AND p.proname LIKE 'gleaner\_%')
      -- Those of 002 and 004, unless the project brought functions of its own.
      OR (format('%s.%s', n.nspname, p.proname) IN ('public.is_member', 'public.member_org_ids', 'public.member_role',
        'auth.jwt', 'auth.uid', 'auth.role') AND p.proconfig = ARRAY['search_path=""']))
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = %s', ours.function, ours.path);
  END LOOP;
END
$$;

-- ============================================================================
-- 2. Event Numbers
-- ============================================================================
-- Events are numbered on from the last one, and the run's event_seq follows them. No client writes it: one that raised it
-- would leave a gap.
CREATE FUNCTION gleaner_events_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  told record;
BEGIN
  FOR told IN SELECT run_id, min(seq) AS first, max(seq) AS last, count(*) AS events FROM inserted GROUP BY run_id ORDER BY run_id
  LOOP
    UPDATE collection_runs SET event_seq = told.last
    WHERE id = told.run_id AND event_seq = told.first - 1 AND told.events = told.last - told.first + 1;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'events are numbered on from the last one of their run, without a gap' USING ERRCODE = 'GL003';
    END IF;
  END LOOP;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_events_inserted AFTER INSERT ON collection_events
  REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION gleaner_events_inserted();

CREATE TRIGGER collection_runs_kept_event_seq BEFORE UPDATE OF event_seq ON collection_runs
  FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND OLD.event_seq <> NEW.event_seq) EXECUTE FUNCTION gleaner_run_kept();

-- ============================================================================
-- 3. How A Run Begins
-- ============================================================================
-- As in 039, and: its times are the state machine's, its number is the sequence's. One given by a client could be ahead of
-- the sequence, which would fail when it arrives there. Runs as the owner, who may look at the sequence.
CREATE OR REPLACE FUNCTION gleaner_run_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF NEW.status <> 'pending' THEN
    RAISE EXCEPTION 'a run begins as pending, not as %', NEW.status USING ERRCODE = 'GL002';
  END IF;
  -- A writer that knows only the columns of 037 gives the cap in cents.
  IF NEW.cap_micros = 0 AND NEW.budget_cap_cents > 0 THEN
    NEW.cap_micros := NEW.budget_cap_cents::bigint * 10000;
  END IF;
  IF (NEW.spent_micros, NEW.held_micros, NEW.suspect_micros, NEW.breach_micros, NEW.event_seq)
      IS DISTINCT FROM (0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint)
    OR (NEW.actual_cost_cents, NEW.held_calls, NEW.settled_calls, NEW.released_calls, NEW.suspect_calls,
      NEW.total_categories, NEW.open_categories, NEW.failed_categories, NEW.total_items, NEW.processed_items,
      NEW.failed_items, NEW.pending_items, NEW.processing_items, NEW.found_items, NEW.none_items, NEW.blocked_items,
      NEW.drift_items, NEW.rejected_items, NEW.skipped_items, NEW.seller_items, NEW.new_sellers)
      IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) THEN
    RAISE EXCEPTION 'money and counters of a run are kept by the database and begin at zero' USING ERRCODE = 'GL003';
  END IF;
  IF num_nonnulls(NEW.started_at, NEW.paused_at, NEW.completed_at, NEW.soft_warned_at, NEW.pause_note, NEW.updated_at) > 0 THEN
    RAISE EXCEPTION 'what happens to a run later is not known when it begins' USING ERRCODE = 'GL003';
  END IF;
  BEGIN
    IF NEW.number <> currval('collection_runs_number_seq') THEN
      RAISE EXCEPTION 'the number of a run is given by the database' USING ERRCODE = 'GL003';
    END IF;
  EXCEPTION WHEN object_not_in_prerequisite_state THEN -- this session has drawn no number
    RAISE EXCEPTION 'the number of a run is given by the database' USING ERRCODE = 'GL003';
  END;
  RETURN NEW;
END
$$;

-- ============================================================================
-- 4. Places
-- ============================================================================
-- How many runs of an organisation may be running. The settings row is locked, so starts of one organisation take turns;
-- then the runs themselves are counted, so that there is no counter that could leak. The program locks the settings row
-- before the run's; who updates the run first may meet it in a deadlock, and is then rolled back.
CREATE FUNCTION gleaner_run_place() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  most integer;
BEGIN
  -- Under an older snapshot the count would not see who started meanwhile.
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'a run is started under read committed, not %', current_setting('transaction_isolation')
      USING ERRCODE = 'feature_not_supported';
  END IF;
  LOOP
    INSERT INTO collection_settings (org_id) VALUES (NEW.org_id) ON CONFLICT (org_id) DO NOTHING;
    SELECT max_concurrent_runs INTO most FROM collection_settings WHERE org_id = NEW.org_id FOR NO KEY UPDATE;
    EXIT WHEN FOUND; -- else deleted between the two
  END LOOP;
  IF (SELECT count(*) FROM collection_runs WHERE org_id = NEW.org_id AND status = 'running') >= most THEN
    RAISE EXCEPTION 'all % places of the organisation are taken', most USING ERRCODE = 'GL005',
      HINT = 'Wait for a run to end, or raise collection_settings.max_concurrent_runs.';
  END IF;
  RETURN NEW;
END
$$;

-- Named to come after collection_runs_status: an illegal change is refused as such.
CREATE TRIGGER collection_runs_take_place BEFORE UPDATE OF status ON collection_runs
  FOR EACH ROW WHEN (NEW.status = 'running' AND OLD.status <> 'running') EXECUTE FUNCTION gleaner_run_place();

-- ============================================================================
-- 5. How A Run Goes
-- ============================================================================
-- A run may be deleted before it begins, or when it has ended and the fate of all its money is known. Deleted earlier, its
-- calls in flight would be charged by the provider and found nowhere. An organisation takes its runs with it.
CREATE FUNCTION gleaner_run_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM orgs WHERE id = OLD.org_id) THEN
    RAISE EXCEPTION 'a % run with % calls held and % suspect cannot be deleted', OLD.status, OLD.held_calls, OLD.suspect_calls
      USING ERRCODE = 'GL002', HINT = 'Let it end, or cancel it, and let its calls be booked.';
  END IF;
  RETURN OLD;
END
$$;

CREATE TRIGGER collection_runs_delete BEFORE DELETE ON collection_runs
  FOR EACH ROW WHEN (OLD.status IN ('running', 'paused') OR OLD.held_calls > 0 OR OLD.suspect_calls > 0)
  EXECUTE FUNCTION gleaner_run_delete();

-- ============================================================================
-- 6. Privileges Of Workers
-- ============================================================================
-- A Supabase project hands everything to service_role as well. TRIGGER would let it put a function of its own into the
-- statements of ours, which run as the owner; EXECUTE on ours would let it run them over rows it made up.
REVOKE ALL ON collection_settings, collection_runs, collection_items, sellers, provider_accounts, provider_prices,
  collection_run_categories, collection_category_products, collection_calls, collection_sightings,
  collection_events, collection_workers, sightings FROM service_role;
REVOKE ALL ON SEQUENCE collection_runs_number_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION gleaner_run_insert(), gleaner_run_place(), gleaner_run_delete(), gleaner_events_inserted(),
  gleaner_items_inserted(), gleaner_items_updated(), gleaner_category_changed(), gleaner_calls_inserted(),
  gleaner_calls_updated() FROM PUBLIC, anon, authenticated, service_role;

-- The tables 003 made, by their policies; those a project brought with it keep the privileges they came with.
DO $$
DECLARE
  ours record;
BEGIN
  FOR ours IN SELECT tablename AS name FROM pg_policies
    WHERE schemaname = 'public' AND (tablename, policyname) IN (('orgs', 'orgs_service'), ('org_members', 'org_members_service'))
  LOOP
    EXECUTE format('REVOKE ALL ON public.%I FROM service_role', ours.name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO service_role', ours.name);
  END LOOP;
END
$$;

GRANT SELECT ON sightings TO service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON collection_settings, collection_workers, provider_accounts, provider_prices
  TO service_role;

-- Money, counters, identity, the snapshot taken at the beginning and the times of the state machine are not among these.
GRANT SELECT, INSERT, DELETE ON collection_runs TO service_role;
GRANT UPDATE (name, status, phase, pause_reason, pause_note, resume_at, failure_reason, start_requested_at, checkpoint,
  cap_micros, budget_cap_cents, soft_warned_at) ON collection_runs TO service_role;

-- Rows of these go with their run, by a cascade that runs as the owner. No DELETE.
GRANT SELECT, INSERT ON collection_items, collection_run_categories, collection_category_products, collection_calls,
  collection_sightings TO service_role;
GRANT UPDATE (status, outcome, rung, attempt, epoch, not_before, error_code, error_message, cost_micros, cost_cents,
  finished_at) ON collection_items TO service_role;
GRANT UPDATE (status, step, attempt, epoch, not_before, product_count, error_code, error_message, finished_at)
  ON collection_run_categories TO service_role;
GRANT UPDATE (state, charge_micros, outcome, error_code, error_message, lease_until, booked_at, duration_ms)
  ON collection_calls TO service_role;
GRANT UPDATE (call_id, seen_at, seller_ids, listing_counts, evidence) ON collection_sightings TO service_role;

-- The time of an event is the database's.
GRANT SELECT, INSERT (run_id, seq, type, actor_id, data) ON collection_events TO service_role;

-- A seller stays that of its organisation, and keeps the moment it was first seen.
GRANT SELECT, INSERT, DELETE ON sellers TO service_role;
GRANT UPDATE (display_name, normalized_name, platform_id, last_seen_run_id, last_seen_at, times_seen, feedback_score,
  feedback_permille, item_count) ON sellers TO service_role;

-- ============================================================================
-- 7. A Comment
-- ============================================================================
COMMENT ON COLUMN collection_items.parent_id IS
  'Of an ebay_seller: the item of the product whose search first brought this seller in this run. No foreign key: both are items of one run and go with it.';
