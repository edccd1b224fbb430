-- Collection infrastructure: settings, runs, items and the master list of sellers.
--
-- Applies to any database that has the roles anon, authenticated and service_role and the tables orgs and auth.users:
-- one prepared by 001 to 036, or a Supabase project. Never edited: what these tables lack comes in 038 and later.

-- =====================================================================================================================
-- 1. Collection Settings
-- =====================================================================================================================
-- One row per organisation: the cap a new run starts with, when to warn, and how many runs may be active at once.

CREATE TABLE collection_settings (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id uuid NOT NULL UNIQUE REFERENCES orgs(id) ON DELETE CASCADE,
  budget_cap_cents int NOT NULL DEFAULT 2500,
  soft_warning_percent int NOT NULL DEFAULT 80,
  max_concurrent_runs int NOT NULL DEFAULT 3,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz
);

-- =====================================================================================================================
-- 2. Collection Runs
-- =====================================================================================================================
-- One row per run: its state, what it was estimated to cost and has cost, its cap (a snapshot taken at the start), its
-- counters and its checkpoint. Cents are rounded up; finer amounts come in 038.

CREATE TABLE collection_runs (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')),
  estimated_cost_cents int NOT NULL,
  actual_cost_cents int NOT NULL DEFAULT 0,
  budget_cap_cents int NOT NULL,
  total_items int NOT NULL DEFAULT 0,
  processed_items int NOT NULL DEFAULT 0,
  failed_items int NOT NULL DEFAULT 0,
  checkpoint jsonb,
  category_ids text[] NOT NULL,
  started_at timestamptz,
  completed_at timestamptz,
  paused_at timestamptz,
  created_by uuid NOT NULL REFERENCES auth.users(id),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz
);

CREATE INDEX idx_collection_runs_org_id ON collection_runs(org_id);
CREATE INDEX idx_collection_runs_status ON collection_runs(status);
CREATE INDEX idx_collection_runs_created_at ON collection_runs(created_at);

-- =====================================================================================================================
-- 3. Collection Items
-- =====================================================================================================================
-- One row per piece of work of a run: an Amazon product to search for (external_id is its ASIN) or an eBay seller found
-- (external_id is the seller's id).

CREATE TABLE collection_items (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  run_id uuid NOT NULL REFERENCES collection_runs(id) ON DELETE CASCADE,
  item_type text NOT NULL CHECK (item_type IN ('amazon_product', 'ebay_seller')),
  external_id text NOT NULL,
  status text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'skipped')),
  data jsonb,
  error_code text,
  error_message text,
  cost_cents int NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_collection_items_run_id ON collection_items(run_id);
CREATE INDEX idx_collection_items_status ON collection_items(status);
CREATE INDEX idx_collection_items_item_type ON collection_items(item_type);

-- =====================================================================================================================
-- 4. Sellers
-- =====================================================================================================================
-- The organisation's master list, deduplicated by normalized_name (lowercase, stripped) within a platform.

CREATE TABLE sellers (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  display_name text NOT NULL,
  normalized_name text NOT NULL,
  platform text NOT NULL CHECK (platform IN ('ebay')),
  platform_id text,
  first_seen_run_id uuid REFERENCES collection_runs(id) ON DELETE SET NULL,
  last_seen_run_id uuid REFERENCES collection_runs(id) ON DELETE SET NULL,
  times_seen int NOT NULL DEFAULT 1,
  feedback_score int,
  item_count int,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz,
  CONSTRAINT sellers_unique_normalized UNIQUE (org_id, normalized_name, platform)
);

CREATE INDEX idx_sellers_org_id ON sellers(org_id);
CREATE INDEX idx_sellers_normalized_name ON sellers(normalized_name);

-- =====================================================================================================================
-- 5. Row Level Security
-- =====================================================================================================================
-- On for all four, with one policy each: workers, who take on service_role, may do everything; nobody else anything.

ALTER TABLE collection_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE collection_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE sellers ENABLE ROW LEVEL SECURITY;

CREATE POLICY collection_settings_service_role ON collection_settings
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_runs_service_role ON collection_runs
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY collection_items_service_role ON collection_items
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY sellers_service_role ON sellers
  FOR ALL TO service_role USING (true) WITH CHECK (true);

-- =====================================================================================================================
-- 6. Privileges
-- =====================================================================================================================
-- A policy lets rows through, a privilege lets the statement through: both are needed. A Supabase project grants
-- everything on new tables to anon and authenticated, TRUNCATE included, which row level security does not cover.

REVOKE ALL ON collection_settings, collection_runs, collection_items, sellers FROM PUBLIC, anon, authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON collection_settings, collection_runs, collection_items, sellers TO service_role;
