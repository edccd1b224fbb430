-- ============================================================================
-- 050: Estimates that learn, runs up to their cap, samples
-- ============================================================================

-- ============================================================================
-- 1. Figures Of Runs
-- ============================================================================
-- What a run took and brought, summed up from its rows when it ends, or when an
-- estimate first asks for it. An estimate over ten runs of 20,000 products took
-- 1.1 s from their rows (bench/estimate.ts). A cache: it may be deleted.
CREATE TABLE collection_run_figures (
  run_id uuid PRIMARY KEY REFERENCES collection_runs(id) ON DELETE CASCADE,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  -- The run as it stood: figures of a run that went on since are summed up anew.
  event_seq bigint NOT NULL,
  computed_at timestamptz NOT NULL DEFAULT now(),
  products integer NOT NULL,
  searched integer NOT NULL,
  lists integer NOT NULL,
  places integer NOT NULL,
  search_calls integer NOT NULL,
  search_hold_micros bigint NOT NULL,
  search_charge_micros bigint NOT NULL,
  queries integer NOT NULL,
  list_calls integer NOT NULL,
  list_hold_micros bigint NOT NULL,
  list_charge_micros bigint NOT NULL,
  mean_search_ms double precision,
  mean_list_ms double precision,
  active_ms double precision NOT NULL,
  CONSTRAINT collection_run_figures_range CHECK (
    event_seq >= 0 AND products >= 0 AND searched >= 0 AND lists >= 0 AND places >= 0 AND search_calls >= 0
    AND search_hold_micros >= 0 AND search_charge_micros >= 0 AND queries >= 0 AND list_calls >= 0
    AND list_hold_micros >= 0 AND list_charge_micros >= 0 AND active_ms >= 0)
);

COMMENT ON TABLE collection_run_figures IS 'What a run took, summed up for estimates. A cache over its rows.';
COMMENT ON COLUMN collection_run_figures.places IS 'Products its lists named, those named twice counted twice.';
COMMENT ON COLUMN collection_run_figures.queries IS 'Queries that were decided: answered, or given up.';

CREATE INDEX idx_collection_run_figures_org_id ON collection_run_figures(org_id);

-- ============================================================================
-- 2. Figures Of Categories
-- ============================================================================
-- One row per category of a run; an empty key is its product list. A product
-- belongs to the first list that named it, a new seller to the product that
-- brought it first.
CREATE TABLE collection_category_figures (
  run_id uuid NOT NULL REFERENCES collection_run_figures(run_id) ON DELETE CASCADE,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  category_key text NOT NULL,
  listed integer NOT NULL,
  own integer NOT NULL,
  skipped integer NOT NULL,
  decided_first integer NOT NULL,
  climbed_first integer NOT NULL,
  decided_second integer NOT NULL,
  climbed_second integer NOT NULL,
  new_sellers integer NOT NULL,
  capped boolean NOT NULL,
  complete boolean NOT NULL,
  CONSTRAINT collection_category_figures_pkey PRIMARY KEY (run_id, category_key),
  CONSTRAINT collection_category_figures_range CHECK (
    listed >= 0 AND own >= 0 AND skipped >= 0 AND decided_first >= climbed_first AND climbed_first >= decided_second
    AND decided_second >= climbed_second AND climbed_second >= 0 AND new_sellers >= 0)
);

COMMENT ON COLUMN collection_category_figures.climbed_first IS 'Products that went on from their first query to the second.';
COMMENT ON COLUMN collection_category_figures.capped IS 'The cap kept products from their next query: climbed is too low.';

CREATE INDEX idx_collection_category_figures_org ON collection_category_figures(org_id, category_key);

ALTER TABLE collection_run_figures ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_category_figures ENABLE ROW LEVEL SECURITY;
CREATE POLICY collection_run_figures_service_role ON collection_run_figures
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_category_figures_service_role ON collection_category_figures
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_run_figures_member_read ON collection_run_figures
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY collection_category_figures_member_read ON collection_category_figures
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
REVOKE ALL ON collection_run_figures, collection_category_figures FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON collection_run_figures, collection_category_figures TO service_role;
GRANT SELECT ON collection_run_figures, collection_category_figures TO authenticated;

-- ============================================================================
-- 3. Up To The Cap, And Samples
-- ============================================================================
-- A sampled run searches a few of its products first: the others, and the lists
-- they need not, wait with not_before = infinity until it is resumed.
ALTER TABLE collection_runs
  ADD COLUMN up_to_cap boolean NOT NULL DEFAULT false,
  ADD COLUMN sample_products integer
    CONSTRAINT collection_runs_sample_range CHECK (sample_products BETWEEN 1 AND 1000),
  ADD COLUMN sampled_at timestamptz,
  ADD CONSTRAINT collection_runs_sampled_fits CHECK (sampled_at IS NULL OR sample_products IS NOT NULL);

COMMENT ON COLUMN collection_runs.up_to_cap IS 'Meant to collect as far as the cap goes, also below the estimate.';
COMMENT ON COLUMN collection_runs.sample_products IS 'So many products are searched before the others wait for a person; null = no sample.';
COMMENT ON COLUMN collection_runs.sampled_at IS 'When the sample was through and the run paused.';

ALTER TABLE collection_run_categories
  ADD COLUMN sample_products integer
    CONSTRAINT collection_run_categories_sample_range CHECK (sample_products BETWEEN 1 AND 1000);

COMMENT ON COLUMN collection_run_categories.sample_products IS 'Of a sampled run: so many products of this list belong to the sample.';

GRANT UPDATE (sampled_at) ON collection_runs TO service_role;
