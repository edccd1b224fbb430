-- ============================================================================
-- 048: The provider governor
-- ============================================================================
-- One row per provider account says how it may be called now, for the whole
-- fleet: how many calls may be in flight, when the next one may be sent, how many
-- of the day's quota are used, and whether the provider is in trouble. A claim
-- asks it in the statement that takes the hold; docs/adr/0009 says why here.
-- ============================================================================

-- ============================================================================
-- 1. What An Account Allows
-- ============================================================================
ALTER TABLE provider_accounts
  ADD COLUMN calls_per_day integer
    CONSTRAINT provider_accounts_calls_per_day_range CHECK (calls_per_day BETWEEN 1 AND 1000000000),
  ADD COLUMN quota_zone text NOT NULL DEFAULT 'America/Los_Angeles'
    CONSTRAINT provider_accounts_quota_zone_form CHECK (quota_zone ~ '^[A-Za-z][A-Za-z0-9_+/-]{0,63}$');

COMMENT ON COLUMN provider_accounts.max_in_flight IS 'Calls at the same time, at most, over all workers.';
COMMENT ON COLUMN provider_accounts.max_per_second IS 'Calls a second, at most, over all workers; null = no limit.';
COMMENT ON COLUMN provider_accounts.calls_per_day IS 'Calls a day, at most, over all workers; null = no limit. eBay: 5,000.';
COMMENT ON COLUMN provider_accounts.quota_zone IS 'Time zone at whose midnight the day''s quota begins anew. eBay: Pacific.';

UPDATE provider_accounts SET calls_per_day = 5000 WHERE adapter = 'ebay_browse' AND NOT sandbox;

-- ============================================================================
-- 2. Provider Governors
-- ============================================================================
CREATE TABLE provider_governors (
  account_id uuid PRIMARY KEY REFERENCES provider_accounts(id) ON DELETE CASCADE,
  -- Concurrency: additive increase, multiplicative decrease.
  window_calls real NOT NULL DEFAULT 10 CONSTRAINT provider_governors_window_range CHECK (window_calls >= 1),
  steep_below real NOT NULL DEFAULT 1000000,
  cut_at timestamptz NOT NULL DEFAULT 'epoch',
  latency_ms real,
  latency_floor_ms real,
  -- Rate: the moment the next call may be sent.
  slot_at timestamptz NOT NULL DEFAULT 'epoch',
  -- Told to wait: Retry-After, or our own back-off.
  rest_until timestamptz NOT NULL DEFAULT 'epoch',
  throttles_in_row integer NOT NULL DEFAULT 0,
  -- Quota of the day.
  day_ends_at timestamptz NOT NULL DEFAULT 'epoch',
  day_calls integer NOT NULL DEFAULT 0 CONSTRAINT provider_governors_day_calls_range CHECK (day_calls >= 0),
  quota_until timestamptz NOT NULL DEFAULT 'epoch',
  -- Breaker.
  health text NOT NULL DEFAULT 'healthy'
    CONSTRAINT provider_governors_health_known CHECK (health IN ('healthy', 'testing', 'stopped')),
  recent text NOT NULL DEFAULT '' CONSTRAINT provider_governors_recent_form CHECK (recent ~ '^[+ox-]{0,40}$'),
  stops_in_row integer NOT NULL DEFAULT 0,
  stopped_at timestamptz,
  probe_at timestamptz,
  trouble text,
  trouble_at timestamptz,
  probe_note text,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT provider_governors_stopped_has_probe CHECK (health <> 'stopped' OR (stopped_at IS NOT NULL AND probe_at IS NOT NULL))
);

COMMENT ON TABLE provider_governors IS 'How each provider account may be called now, over the whole fleet.';
COMMENT ON COLUMN provider_governors.window_calls IS 'Calls that may be in flight now: grows with answers, halves with trouble, never above max_in_flight.';
COMMENT ON COLUMN provider_governors.steep_below IS 'Below it the window grows by one with every answer, above it by one in a window of answers.';
COMMENT ON COLUMN provider_governors.slot_at IS 'When the next call may be sent: each call moves it on by one spacing of the rate.';
COMMENT ON COLUMN provider_governors.day_calls IS 'Calls claimed in the quota day that ends at day_ends_at.';
COMMENT ON COLUMN provider_governors.recent IS 'What became of the last 40 calls, oldest first: + usable, o refused or unreadable, x no answer, - told to wait.';
COMMENT ON COLUMN provider_governors.health IS 'healthy; stopped: nothing is sent until a probe succeeds; testing: one call at a time.';

CREATE FUNCTION gleaner_account_governor() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO provider_governors (account_id) VALUES (NEW.id) ON CONFLICT (account_id) DO NOTHING;
  RETURN NULL;
END
$$;

CREATE TRIGGER provider_accounts_governor AFTER INSERT ON provider_accounts
  FOR EACH ROW EXECUTE FUNCTION gleaner_account_governor();

INSERT INTO provider_governors (account_id) SELECT id FROM provider_accounts;

-- Calls in flight at an account are counted, never kept: a count cannot leak.
CREATE INDEX idx_collection_calls_in_flight ON collection_calls(account_id, run_id) WHERE state = 'held';
-- Who shares an account now.
CREATE INDEX idx_collection_runs_searching ON collection_runs(search_account_id) WHERE status = 'running';
CREATE INDEX idx_collection_runs_listing ON collection_runs(list_account_id) WHERE status = 'running';

-- ============================================================================
-- 3. Room For Calls
-- ============================================================================
-- How many calls a run may claim at an account now, of at most `wanted`. Locks the account's governor until the
-- transaction ends: claims at one account take turns, so each sees what the one before took. Statements of this
-- function see what was committed while it waited for the lock.
--   room      calls that may be claimed; `reason` says what stood in the way of more, null when nothing did
--   wait_ms   after which it is worth asking again
--   until     for reasons stopped, quota and rest: when that may end; `note` what the trouble is
CREATE FUNCTION gleaner_room(p_account uuid, p_run uuid, p_wanted integer)
RETURNS TABLE (room integer, reason text, wait_ms integer, until timestamptz, note text)
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  -- Slots are given out so far ahead, ms: enough to keep a rate while claims are under way, short enough for a pause.
  ahead constant double precision := 150;
  g provider_governors;
  a provider_accounts;
  at timestamptz;
  widest double precision;
  all_flights bigint;
  run_flights bigint;
  org_flights bigint;
  org_count bigint;
  run_count bigint;
  rivals bigint;
  owed double precision;
  sister_flies bigint[];
  sister_wants bigint[];
  share double precision;
  free double precision;
  slots double precision;
  spacing_ms double precision;
BEGIN
  SELECT * INTO g FROM provider_governors WHERE account_id = p_account FOR NO KEY UPDATE;
  SELECT * INTO a FROM provider_accounts WHERE id = p_account;
  IF g.account_id IS NULL OR a.id IS NULL THEN
    RETURN QUERY SELECT 0, 'gone', 1000, NULL::timestamptz, NULL::text;
    RETURN;
  END IF;
  at := clock_timestamp();
  IF g.health = 'stopped' THEN
    RETURN QUERY SELECT 0, 'stopped', 1000, g.probe_at, g.trouble;
    RETURN;
  ELSIF g.quota_until > at THEN
    RETURN QUERY SELECT 0, 'quota', 1000, g.quota_until, g.trouble;
    RETURN;
  ELSIF a.calls_per_day IS NOT NULL AND g.day_ends_at > at AND g.day_calls >= a.calls_per_day THEN
    RETURN QUERY SELECT 0, 'quota', 1000, g.day_ends_at, format('The account''s %s calls a day are used.', to_char(a.calls_per_day, 'FM999,999,999,999'));
    RETURN;
  ELSIF g.rest_until > at THEN
    RETURN QUERY SELECT 0, 'rest', least(1000, ceil(extract(epoch FROM g.rest_until - at) * 1000))::integer, g.rest_until, g.trouble;
    RETURN;
  END IF;

  widest := CASE WHEN g.health = 'testing' THEN 1 ELSE least(floor(g.window_calls), a.max_in_flight) END;
  -- The window is shared evenly between organisations, and between the runs of one; what nobody wants is anybody's.
  WITH flights AS (
    SELECT run_id, count(*) AS calls FROM collection_calls WHERE account_id = p_account AND state = 'held' GROUP BY run_id
  ), active AS (
    SELECT r.id, r.org_id, r.org_id = (SELECT org_id FROM collection_runs WHERE id = p_run) AS ours,
      coalesce(f.calls, 0) AS flies,
      coalesce(f.calls, 0) + CASE WHEN r.search_account_id = p_account THEN r.pending_items ELSE 0 END
        + CASE WHEN r.list_account_id = p_account THEN r.open_categories ELSE 0 END AS wants
    FROM collection_runs r LEFT JOIN flights f ON f.run_id = r.id
    WHERE r.status = 'running' AND (r.search_account_id = p_account OR r.list_account_id = p_account)
  ), wanting AS (
    SELECT * FROM active WHERE wants > 0 OR id = p_run
  ), orgs AS (
    SELECT org_id, ours, sum(flies) AS flies, sum(wants) AS wants, count(*) OVER () AS many FROM wanting GROUP BY org_id, ours
  )
  SELECT coalesce((SELECT sum(calls) FROM flights), 0), coalesce((SELECT calls FROM flights WHERE run_id = p_run), 0),
    greatest(1, (SELECT count(*) FROM orgs)), greatest(1, (SELECT count(*) FROM wanting WHERE ours)),
    (SELECT count(*) FROM wanting WHERE id <> p_run),
    coalesce((SELECT flies FROM orgs WHERE ours), 0),
    coalesce((SELECT sum(greatest(0, least(floor(widest / many), wants) - flies)) FROM orgs WHERE NOT ours), 0),
    coalesce((SELECT array_agg(flies) FROM wanting WHERE ours AND id <> p_run), '{}'),
    coalesce((SELECT array_agg(wants) FROM wanting WHERE ours AND id <> p_run), '{}')
    INTO all_flights, run_flights, org_count, run_count, rivals, org_flights, owed, sister_flies, sister_wants;
  free := widest - all_flights;
  share := floor(widest / org_count);
  free := CASE WHEN share >= 1 THEN least(free, greatest(share - org_flights, free - owed)) WHEN org_flights = 0 THEN least(free, 1) ELSE 0 END;
  share := floor((org_flights + greatest(free, 0)) / run_count);
  SELECT coalesce(sum(greatest(0, least(share, w) - f)), 0) INTO owed FROM unnest(sister_flies, sister_wants) AS sister(f, w);
  free := CASE WHEN share >= 1 THEN least(free, greatest(share - run_flights, free - owed)) WHEN run_flights = 0 THEN least(free, 1) ELSE 0 END;
  IF free < 1 THEN
    RETURN QUERY SELECT 0, 'window', 100, NULL::timestamptz, NULL::text;
    RETURN;
  END IF;

  IF a.calls_per_day IS NOT NULL AND g.day_ends_at > at THEN free := least(free, a.calls_per_day - g.day_calls);
  ELSIF a.calls_per_day IS NOT NULL THEN free := least(free, a.calls_per_day);
  END IF;

  IF a.max_per_second IS NOT NULL THEN
    spacing_ms := 1000 / (a.max_per_second * 0.985);
    slots := floor((ahead - greatest(0, extract(epoch FROM g.slot_at - at) * 1000)) / spacing_ms) + 1;
    IF extract(epoch FROM g.slot_at - at) * 1000 > ahead THEN
      RETURN QUERY SELECT 0, 'rate',
        greatest(1, ceil(extract(epoch FROM g.slot_at - at) * 1000 - ahead / 2))::integer, NULL::timestamptz, NULL::text;
      RETURN;
    END IF;
    -- Rivals for a rate take turns: none takes all that has gathered.
    free := least(free, greatest(1, ceil(slots / (rivals + 1))));
  END IF;
  RETURN QUERY SELECT least(p_wanted, floor(free))::integer, NULL::text,
    CASE WHEN a.max_per_second IS NULL THEN 0 ELSE ceil(ahead / 2)::integer END, NULL::timestamptz, NULL::text;
END
$$;

-- Takes `p_calls` of the room found above: counts them to the day's quota, unless they were `p_counted` when they missed
-- an earlier moment, and gives each its moment to be sent. Returns that of the first, and the spacing of the others, in ms; both null where no rate is kept.
CREATE FUNCTION gleaner_take_room(p_account uuid, p_calls integer, p_counted boolean)
RETURNS TABLE (first_ms double precision, spacing_ms double precision)
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  g provider_governors;
  a provider_accounts;
  at timestamptz;
  spacing interval;
  first timestamptz;
BEGIN
  SELECT * INTO g FROM provider_governors WHERE account_id = p_account FOR NO KEY UPDATE;
  SELECT * INTO a FROM provider_accounts WHERE id = p_account;
  at := clock_timestamp();
  -- 98.5 % of the rate: what calls are late against each other on their way must not add up to one too many in a second.
  spacing := interval '1 second' / (a.max_per_second * 0.985);
  first := greatest(g.slot_at, at);
  IF p_calls > 0 AND (a.max_per_second IS NOT NULL OR a.calls_per_day IS NOT NULL) THEN
    UPDATE provider_governors SET
      slot_at = CASE WHEN spacing IS NULL THEN g.slot_at ELSE first + p_calls * spacing END,
      day_calls = CASE WHEN g.day_ends_at > at THEN g.day_calls ELSE 0 END + CASE WHEN p_counted THEN 0 ELSE p_calls END,
      day_ends_at = CASE WHEN g.day_ends_at > at THEN g.day_ends_at
        ELSE (date_trunc('day', at AT TIME ZONE a.quota_zone) + interval '1 day') AT TIME ZONE a.quota_zone END
    WHERE account_id = p_account;
  END IF;
  RETURN QUERY SELECT
    CASE WHEN spacing IS NULL THEN NULL ELSE extract(epoch FROM first)::double precision * 1000 END,
    extract(epoch FROM spacing)::double precision * 1000;
END
$$;

-- ============================================================================
-- 4. Access
-- ============================================================================
ALTER TABLE provider_governors ENABLE ROW LEVEL SECURITY;
CREATE POLICY provider_governors_service_role ON provider_governors
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY provider_governors_read ON provider_governors FOR SELECT TO authenticated USING (true);

REVOKE ALL ON provider_governors FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, UPDATE ON provider_governors TO service_role;
GRANT SELECT ON provider_governors TO authenticated;
REVOKE ALL ON FUNCTION gleaner_account_governor(), gleaner_room(uuid, uuid, integer), gleaner_take_room(uuid, integer, boolean)
  FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION gleaner_room(uuid, uuid, integer), gleaner_take_room(uuid, integer, boolean) TO service_role;
