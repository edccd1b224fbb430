-- ============================================================================
-- 059: The master list as it is shown
-- ============================================================================
-- `sellers` is written at every sighting and has to be renewed in place (052), so
-- nothing that changes there may be indexed. What the list is filtered and sorted
-- by therefore stands in rows of its own, one for each seller, kept up from the
-- evidence a moment after it was booked (engine/keep-list.ts, ADR 0020).
-- ============================================================================

-- ============================================================================
-- 1. Seller Matches
-- ============================================================================
-- One row for each best seller a seller was matched with, over all runs: what is
-- counted, and what remains of a match when its evidence is no longer kept.
CREATE TABLE seller_matches (
  seller_id uuid NOT NULL REFERENCES sellers(id) ON DELETE CASCADE,
  asin text COLLATE "C" NOT NULL,
  org_id uuid NOT NULL,
  likeness_percent smallint NOT NULL CONSTRAINT seller_matches_likeness_range CHECK (likeness_percent BETWEEN 0 AND 100),
  price_rule boolean NOT NULL,
  ratio_low_permille integer CONSTRAINT seller_matches_ratio_low_range CHECK (ratio_low_permille >= 0),
  ratio_high_permille integer CONSTRAINT seller_matches_ratio_high_range CHECK (ratio_high_permille >= 0),
  first_seen_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  CONSTRAINT seller_matches_pkey PRIMARY KEY (seller_id, asin)
);

COMMENT ON TABLE seller_matches IS 'Each best seller a seller was matched with, over all runs. Kept from the evidence.';
COMMENT ON COLUMN seller_matches.likeness_percent IS 'Of its listings for this product, the greatest likeness of a title (matching/title-likeness.ts).';
COMMENT ON COLUMN seller_matches.price_rule IS 'A listing was priced at or above break-even: bought on Amazon, it would not have lost money.';
COMMENT ON COLUMN seller_matches.ratio_low_permille IS 'Lowest price seen, in thousandths of the Amazon price of that time, rounded down; null when that was not known.';

-- ============================================================================
-- 2. Seller List
-- ============================================================================
CREATE TABLE seller_list (
  seller_id uuid NOT NULL CONSTRAINT seller_list_pkey PRIMARY KEY REFERENCES sellers(id) ON DELETE CASCADE,
  org_id uuid NOT NULL,
  -- Drawn by one writer at a time, so who sees a number sees all smaller ones: "new since" is a number, not a time.
  listed_seq bigint GENERATED ALWAYS AS IDENTITY,
  name text COLLATE "C" NOT NULL,
  first_run_id uuid,
  run_count integer NOT NULL,
  matched_count integer NOT NULL DEFAULT 0,
  likeness_percent_sum integer NOT NULL DEFAULT 0,
  price_rule_count integer NOT NULL DEFAULT 0,
  match_weight integer NOT NULL GENERATED ALWAYS AS (400 * matched_count + 4 * likeness_percent_sum + 200 * price_rule_count) STORED,
  ratio_low_permille integer,
  ratio_high_permille integer,
  feedback_score integer,
  listing_count integer,
  first_seen_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  removed_at timestamptz,
  -- Not a foreign key: the fact outlives the person.
  removed_by uuid,
  CONSTRAINT seller_list_figures_range CHECK (
    run_count >= 0 AND matched_count >= 0 AND likeness_percent_sum BETWEEN 0 AND 100 * matched_count
    AND price_rule_count BETWEEN 0 AND matched_count AND ratio_low_permille <= ratio_high_permille)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

COMMENT ON TABLE seller_list IS 'The master list as it is shown: one row a seller, with the figures it is filtered and sorted by.';
COMMENT ON COLUMN seller_list.name IS 'sellers.normalized_name.';
COMMENT ON COLUMN seller_list.matched_count IS 'Distinct best sellers (ASINs) this seller was matched with: its rows in seller_matches.';
COMMENT ON COLUMN seller_list.match_weight IS
  'The sum over its matches of 0.4 + 0.4 x title likeness + 0.2 when the price rule holds, in thousandths. The score is 100 x weight / (weight + 2000).';
COMMENT ON COLUMN seller_list.removed_at IS 'A person took this seller off the list. It stays off, also when a run sees it again, until it is restored.';

-- One for each key the list is sorted by. Without those who were removed: removing many writes to none of them.
CREATE INDEX idx_seller_list_weight ON seller_list(org_id, match_weight, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_matched ON seller_list(org_id, matched_count, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_runs ON seller_list(org_id, run_count, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_ratio ON seller_list(org_id, ratio_low_permille, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_feedback ON seller_list(org_id, feedback_score, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_listings ON seller_list(org_id, listing_count, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_first_seen ON seller_list(org_id, first_seen_at, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_last_seen ON seller_list(org_id, last_seen_at, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_name ON seller_list(org_id, name, seller_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_seq ON seller_list(org_id, listed_seq) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_first_run ON seller_list(first_run_id) WHERE removed_at IS NULL;
CREATE INDEX idx_seller_list_removed ON seller_list(org_id, removed_at, seller_id) WHERE removed_at IS NOT NULL;

-- Search on part of a name. A server without the extension searches too, only slower.
DO $$
DECLARE
  home text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm');
BEGIN
  IF home IS NULL AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
    BEGIN
      CREATE SCHEMA IF NOT EXISTS extensions;
      CREATE EXTENSION pg_trgm WITH SCHEMA extensions;
      home := 'extensions';
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'pg_trgm may not be installed by this role: searching names will be slow';
    END;
  END IF;
  IF home IS NOT NULL THEN
    EXECUTE format('CREATE INDEX idx_seller_list_name_parts ON seller_list USING gin (name %I.gin_trgm_ops) WHERE removed_at IS NULL', home);
  END IF;
END
$$;

-- ============================================================================
-- 3. What Is Due
-- ============================================================================
-- Each booking leaves one row with the products it brought evidence for; a run
-- that ends leaves one that names the run. Taken in the transaction that counts.
CREATE TABLE seller_list_due (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT seller_list_due_pkey PRIMARY KEY,
  org_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  item_ids uuid[],
  run_id uuid,
  CONSTRAINT seller_list_due_one CHECK (num_nonnulls(item_ids, run_id) = 1)
);

COMMENT ON TABLE seller_list_due IS 'Evidence the seller list does not count yet. Empty a second or so after the last booking.';

-- ============================================================================
-- 4. Seller Marks
-- ============================================================================
-- What people set: apart from the figures, so that neither writer rewrites the
-- other's rows, and few, so that they cost nothing where there are none.
CREATE TABLE seller_marks (
  seller_id uuid NOT NULL CONSTRAINT seller_marks_pkey PRIMARY KEY REFERENCES sellers(id) ON DELETE CASCADE,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  flag text CONSTRAINT seller_marks_flag_known CHECK (flag IN ('promising', 'contacted', 'rejected', 'wrong_match')),
  flagged_by uuid,
  flagged_at timestamptz,
  note text CONSTRAINT seller_marks_note_length CHECK (char_length(note) BETWEEN 1 AND 2000),
  noted_by uuid,
  noted_at timestamptz,
  revision integer NOT NULL DEFAULT 1,
  CONSTRAINT seller_marks_flag_whole CHECK ((flag IS NULL) = (flagged_at IS NULL)),
  CONSTRAINT seller_marks_note_whole CHECK ((note IS NULL) = (noted_at IS NULL))
);

COMMENT ON COLUMN seller_marks.revision IS 'Raised by every change a person makes to the seller; its ETag.';

CREATE INDEX idx_seller_marks_org_flag ON seller_marks(org_id, flag);

-- ============================================================================
-- 5. Access
-- ============================================================================
ALTER TABLE seller_matches ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_list ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_list_due ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_marks ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON seller_matches, seller_list, seller_list_due, seller_marks FROM PUBLIC, anon, authenticated, service_role;

CREATE POLICY seller_matches_service_role ON seller_matches FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY seller_list_service_role ON seller_list FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY seller_list_due_service_role ON seller_list_due FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY seller_marks_service_role ON seller_marks FOR ALL TO service_role USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, DELETE, UPDATE (likeness_percent, price_rule, ratio_low_permille, ratio_high_permille, first_seen_at,
  last_seen_at) ON seller_matches TO service_role;
GRANT SELECT, DELETE, INSERT (seller_id, org_id, name, first_run_id, run_count, matched_count, likeness_percent_sum,
  price_rule_count, ratio_low_permille, ratio_high_permille, feedback_score, listing_count, first_seen_at, last_seen_at),
  UPDATE (name, first_run_id, run_count, matched_count, likeness_percent_sum, price_rule_count, ratio_low_permille,
  ratio_high_permille, feedback_score, listing_count, first_seen_at, last_seen_at, removed_at, removed_by)
  ON seller_list TO service_role;
GRANT SELECT, DELETE, INSERT (org_id, item_ids, run_id) ON seller_list_due TO service_role;
GRANT SELECT, INSERT, DELETE, UPDATE (flag, flagged_by, flagged_at, note, noted_by, noted_at, revision)
  ON seller_marks TO service_role;

CREATE POLICY seller_matches_member_read ON seller_matches
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY seller_list_member_read ON seller_list
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY seller_list_due_member_read ON seller_list_due
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY seller_marks_member_read ON seller_marks
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));

-- Who may write is asked once a statement, not once a row: one act may concern every seller there is.
CREATE POLICY seller_list_analyst_update ON seller_list FOR UPDATE TO authenticated
  USING (org_id IN (SELECT m.org FROM member_org_ids() AS m(org) WHERE gleaner_has_role(m.org, 'analyst')))
  WITH CHECK (org_id IN (SELECT m.org FROM member_org_ids() AS m(org) WHERE gleaner_has_role(m.org, 'analyst')));
CREATE POLICY seller_marks_analyst_insert ON seller_marks FOR INSERT TO authenticated
  WITH CHECK (org_id IN (SELECT m.org FROM member_org_ids() AS m(org) WHERE gleaner_has_role(m.org, 'analyst'))
    AND EXISTS (SELECT FROM sellers s WHERE s.id = seller_id AND s.org_id = seller_marks.org_id));
CREATE POLICY seller_marks_analyst_update ON seller_marks FOR UPDATE TO authenticated
  USING (org_id IN (SELECT m.org FROM member_org_ids() AS m(org) WHERE gleaner_has_role(m.org, 'analyst')))
  WITH CHECK (org_id IN (SELECT m.org FROM member_org_ids() AS m(org) WHERE gleaner_has_role(m.org, 'analyst')));

DO $$
DECLARE
  owned text;
BEGIN
  FOREACH owned IN ARRAY ARRAY['seller_matches', 'seller_list', 'seller_list_due', 'seller_marks'] LOOP
    EXECUTE format(
      'CREATE POLICY %I ON %I AS RESTRICTIVE FOR ALL TO authenticated
         USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()))', owned || '_claim_org', owned);
  END LOOP;
END
$$;

GRANT SELECT ON seller_matches, seller_list, seller_list_due TO authenticated;
GRANT UPDATE (removed_at, removed_by) ON seller_list TO authenticated;
GRANT SELECT, INSERT (seller_id, org_id, flag, flagged_by, flagged_at, note, noted_by, noted_at, revision),
  UPDATE (flag, flagged_by, flagged_at, note, noted_by, noted_at, revision) ON seller_marks TO authenticated;

-- ============================================================================
-- 6. Look-ups Row Level Security Would Make Slow
-- ============================================================================
-- LIKE and the operators of arrays are not leak-proof: under a policy PostgreSQL looks at every row first, and no index on
-- them is used. These functions look with the rights of their owner, at one organisation, for one of its members.
CREATE FUNCTION gleaner_sellers_named(org uuid, pattern text, most bigint) RETURNS SETOF seller_list
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT * FROM seller_list
  WHERE org_id = org AND removed_at IS NULL AND name LIKE pattern
    AND (SELECT CASE current_setting('role') WHEN 'authenticated' THEN gleaner_has_role(org, 'viewer') ELSE true END)
  LIMIT most
$$;

-- Which searches showed this seller: keys only, the rows are read under the policies of the reader.
CREATE FUNCTION gleaner_sightings_of(seller uuid) RETURNS TABLE (item_id uuid, rung smallint, seen_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT s.item_id, s.rung, s.seen_at FROM collection_sightings s
  WHERE s.seller_ids @> ARRAY[seller]
    AND (SELECT CASE current_setting('role') WHEN 'authenticated'
      THEN gleaner_has_role((SELECT x.org_id FROM sellers x WHERE x.id = seller), 'viewer') ELSE true END)
$$;

REVOKE ALL ON FUNCTION gleaner_sellers_named(uuid, text, bigint), gleaner_sightings_of(uuid)
  FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION gleaner_sellers_named(uuid, text, bigint), gleaner_sightings_of(uuid) TO authenticated, service_role;

-- ============================================================================
-- 7. What Is There Already
-- ============================================================================
INSERT INTO seller_list (seller_id, org_id, name, first_run_id, run_count, feedback_score, listing_count, first_seen_at, last_seen_at)
  SELECT id, org_id, normalized_name, first_seen_run_id, times_seen, feedback_score, item_count, first_seen_at, last_seen_at
  FROM sellers ORDER BY first_seen_at, id;
INSERT INTO seller_list_due (org_id, item_ids)
  SELECT org_id, array_agg(item_id) FROM (
    SELECT DISTINCT r.org_id, s.item_id, dense_rank() OVER (PARTITION BY r.org_id ORDER BY s.item_id) / 200 AS slice
    FROM collection_sightings s JOIN collection_items i ON i.id = s.item_id JOIN collection_runs r ON r.id = i.run_id
  ) known GROUP BY org_id, slice ORDER BY org_id, slice;
