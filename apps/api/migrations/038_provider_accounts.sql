-- ============================================================================
-- 038: Provider accounts and prices
-- ============================================================================
-- Who is called, and what one unit costs. Secrets are not here: workers read
-- them from their own environment. An account belongs to the installation and
-- is shared by its organisations, because a provider counts its quota and rate
-- per account, not per organisation.
-- ============================================================================

-- ============================================================================
-- 1. Provider Accounts
-- ============================================================================
CREATE TABLE provider_accounts (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name text NOT NULL CONSTRAINT provider_accounts_name_unique UNIQUE
    CONSTRAINT provider_accounts_name_form CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  adapter text NOT NULL
    CONSTRAINT provider_accounts_adapter_known CHECK (adapter IN ('ebay_browse', 'oxylabs', 'keepa')),
  base_url text NOT NULL
    CONSTRAINT provider_accounts_base_url_form CHECK (base_url ~ '^https?://[^/]' AND base_url !~ '/$'),
  sandbox boolean NOT NULL DEFAULT false,
  max_in_flight integer NOT NULL DEFAULT 50
    CONSTRAINT provider_accounts_max_in_flight_range CHECK (max_in_flight BETWEEN 1 AND 10000),
  max_per_second integer
    CONSTRAINT provider_accounts_max_per_second_range CHECK (max_per_second BETWEEN 1 AND 100000),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz
);

COMMENT ON TABLE provider_accounts IS 'Accounts at metered providers. Secrets live in the environment of the workers, never here.';
COMMENT ON COLUMN provider_accounts.sandbox IS 'True when base_url is a Gleaner sandbox: its money is play money.';

-- ============================================================================
-- 2. Provider Prices
-- ============================================================================
-- One row per kind of charge. No row = unknown price = no call is sent. Zero is
-- a price: free.
CREATE TABLE provider_prices (
  account_id uuid NOT NULL REFERENCES provider_accounts(id) ON DELETE CASCADE,
  kind text NOT NULL CONSTRAINT provider_prices_kind_known
    CHECK (kind IN ('ebay.search', 'oxylabs.amazon_bestsellers', 'oxylabs.ebay', 'keepa.token')),
  price_micros bigint NOT NULL
    CONSTRAINT provider_prices_range CHECK (price_micros BETWEEN 0 AND 1000000000),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT provider_prices_pkey PRIMARY KEY (account_id, kind)
);

COMMENT ON TABLE provider_prices IS 'What one unit costs at most, in micro-dollars. A kind without a row is never called.';

-- ============================================================================
-- 3. Row Level Security
-- ============================================================================
ALTER TABLE provider_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_prices ENABLE ROW LEVEL SECURITY;

CREATE POLICY provider_accounts_service_role ON provider_accounts
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY provider_prices_service_role ON provider_prices
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY provider_accounts_read ON provider_accounts FOR SELECT TO authenticated USING (true);
CREATE POLICY provider_prices_read ON provider_prices FOR SELECT TO authenticated USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON provider_accounts, provider_prices TO service_role;
