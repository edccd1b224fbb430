-- ============================================================================
-- 044: Access: what workers and members may do
-- ============================================================================
-- Workers act as service_role. Members read what belongs to their organisation;
-- everything they change goes through the engine.
-- ============================================================================

-- ============================================================================
-- 1. Row Level Security
-- ============================================================================
ALTER TABLE collection_run_categories ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_category_products ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_calls ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_sightings ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_workers ENABLE ROW LEVEL SECURITY;

-- ============================================================================
-- 2. Nothing To Begin With
-- ============================================================================
-- A Supabase project hands every new table and function to anon and
-- authenticated, TRUNCATE included, which row level security does not cover.
REVOKE ALL ON collection_settings, collection_runs, collection_items, sellers, provider_accounts, provider_prices,
  collection_run_categories, collection_category_products, collection_calls, collection_sightings,
  collection_events, collection_workers, sightings FROM PUBLIC, anon, authenticated;
REVOKE ALL ON FUNCTION gleaner_items_inserted(), gleaner_items_updated(), gleaner_category_changed(),
  gleaner_calls_inserted(), gleaner_calls_updated() FROM PUBLIC, anon, authenticated;

-- ============================================================================
-- 3. Workers
-- ============================================================================
CREATE POLICY collection_run_categories_service_role ON collection_run_categories
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_category_products_service_role ON collection_category_products
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_calls_service_role ON collection_calls
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_sightings_service_role ON collection_sightings
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_events_service_role ON collection_events
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_workers_service_role ON collection_workers
  FOR ALL TO service_role USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON collection_settings, collection_runs, collection_items, sellers,
  collection_run_categories, collection_category_products, collection_calls, collection_sightings,
  collection_events, collection_workers TO service_role;
GRANT SELECT ON sightings TO service_role;

-- ============================================================================
-- 4. Members
-- ============================================================================
CREATE POLICY collection_settings_member_read ON collection_settings
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY collection_runs_member_read ON collection_runs
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY sellers_member_read ON sellers
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY collection_items_member_read ON collection_items
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_runs r WHERE r.id = run_id AND r.org_id IN (SELECT member_org_ids())));
CREATE POLICY collection_run_categories_member_read ON collection_run_categories
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_runs r WHERE r.id = run_id AND r.org_id IN (SELECT member_org_ids())));
CREATE POLICY collection_calls_member_read ON collection_calls
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_runs r WHERE r.id = run_id AND r.org_id IN (SELECT member_org_ids())));
CREATE POLICY collection_events_member_read ON collection_events
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_runs r WHERE r.id = run_id AND r.org_id IN (SELECT member_org_ids())));
CREATE POLICY collection_category_products_member_read ON collection_category_products
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_run_categories c WHERE c.id = category_id));
CREATE POLICY collection_sightings_member_read ON collection_sightings
  FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM collection_items i WHERE i.id = item_id));

GRANT SELECT ON collection_settings, collection_runs, collection_items, sellers, provider_accounts, provider_prices,
  collection_run_categories, collection_category_products, collection_calls, collection_sightings, collection_events, sightings TO authenticated;
