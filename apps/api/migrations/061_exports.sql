-- ============================================================================
-- 061: Exports of the seller list
-- ============================================================================
-- An export is made by a worker, whichever is free, and fetched from any server:
-- so its file lies here, in parts, and not on somebody's disk (ADR 0021).
-- ============================================================================

-- ============================================================================
-- 1. Profiles
-- ============================================================================
CREATE TABLE seller_export_profiles (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  name text NOT NULL CONSTRAINT seller_export_profiles_name_length CHECK (char_length(btrim(name)) BETWEEN 1 AND 100),
  format text NOT NULL CONSTRAINT seller_export_profiles_format_known CHECK (format IN ('csv', 'xlsx', 'jsonl')),
  columns text[] NOT NULL,
  safe boolean NOT NULL DEFAULT true,
  last_seq bigint NOT NULL DEFAULT 0,
  last_export_at timestamptz,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT seller_export_profiles_unique UNIQUE (org_id, name)
);

COMMENT ON COLUMN seller_export_profiles.last_seq IS 'The highest seller_list.listed_seq the last whole export under this profile has seen: what comes after it is new.';

-- ============================================================================
-- 2. Exports
-- ============================================================================
CREATE TABLE seller_exports (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  -- Not a foreign key: the row outlives the person. Rows are read as this person may read them.
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  format text NOT NULL CONSTRAINT seller_exports_format_known CHECK (format IN ('csv', 'xlsx', 'jsonl')),
  columns text[] NOT NULL CONSTRAINT seller_exports_columns_some CHECK (cardinality(columns) BETWEEN 1 AND 50),
  filter jsonb NOT NULL DEFAULT '{}' CONSTRAINT seller_exports_filter_object CHECK (jsonb_typeof(filter) = 'object'),
  sort text NOT NULL,
  descending boolean NOT NULL,
  safe boolean NOT NULL DEFAULT true,
  only_new boolean NOT NULL DEFAULT false,
  profile_id uuid REFERENCES seller_export_profiles(id) ON DELETE SET NULL,
  state text NOT NULL DEFAULT 'queued'
    CONSTRAINT seller_exports_state_known CHECK (state IN ('queued', 'running', 'ready', 'failed', 'stopped', 'expired')),
  row_count integer NOT NULL DEFAULT 0 CONSTRAINT seller_exports_rows_range CHECK (row_count >= 0),
  total_count integer,
  byte_count bigint NOT NULL DEFAULT 0 CONSTRAINT seller_exports_bytes_range CHECK (byte_count >= 0),
  part_count integer NOT NULL DEFAULT 0,
  attempt integer NOT NULL DEFAULT 0,
  lease_until timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  stop_requested_at timestamptz,
  expires_at timestamptz,
  error_message text
);

COMMENT ON COLUMN seller_exports.attempt IS 'Raised by every worker that takes it: what one that was taken for dead still writes does not count.';

CREATE INDEX idx_seller_exports_org_id ON seller_exports(org_id, created_at);
CREATE INDEX idx_seller_exports_profile_id ON seller_exports(profile_id) WHERE profile_id IS NOT NULL;
CREATE INDEX idx_seller_exports_open ON seller_exports(created_at) WHERE state IN ('queued', 'running');
CREATE INDEX idx_seller_exports_expires ON seller_exports(expires_at) WHERE state = 'ready';

CREATE TABLE seller_export_parts (
  export_id uuid NOT NULL REFERENCES seller_exports(id) ON DELETE CASCADE,
  number integer NOT NULL CONSTRAINT seller_export_parts_number_range CHECK (number >= 0),
  org_id uuid NOT NULL,
  content bytea NOT NULL,
  CONSTRAINT seller_export_parts_pkey PRIMARY KEY (export_id, number)
);

-- Compressed already.
ALTER TABLE seller_export_parts ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON COLUMN seller_export_parts.content IS 'A gzip member; one after the other they are the file, compressed.';

-- ============================================================================
-- 3. Access
-- ============================================================================
ALTER TABLE seller_export_profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_exports ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_export_parts ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON seller_export_profiles, seller_exports, seller_export_parts FROM PUBLIC, anon, authenticated, service_role;

DO $$
DECLARE
  owned text;
  analysts text := 'org_id IN (SELECT m.org FROM member_org_ids() AS m(org) WHERE gleaner_has_role(m.org, ''analyst''))';
BEGIN
  FOREACH owned IN ARRAY ARRAY['seller_export_profiles', 'seller_exports', 'seller_export_parts'] LOOP
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO service_role USING (true) WITH CHECK (true)', owned || '_service_role', owned);
    EXECUTE format('CREATE POLICY %I ON %I FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()))',
      owned || '_member_read', owned);
    EXECUTE format(
      'CREATE POLICY %I ON %I AS RESTRICTIVE FOR ALL TO authenticated
         USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()))', owned || '_claim_org', owned);
  END LOOP;
  FOREACH owned IN ARRAY ARRAY['seller_export_profiles', 'seller_exports'] LOOP
    EXECUTE format('CREATE POLICY %I ON %I FOR INSERT TO authenticated WITH CHECK (created_by = auth.uid() AND %s)',
      owned || '_analyst_insert', owned, analysts);
    EXECUTE format('CREATE POLICY %I ON %I FOR UPDATE TO authenticated USING (%s) WITH CHECK (%s)',
      owned || '_analyst_update', owned, analysts, analysts);
    EXECUTE format('CREATE POLICY %I ON %I FOR DELETE TO authenticated USING (%s)', owned || '_analyst_delete', owned, analysts);
  END LOOP;
END
$$;

GRANT SELECT, INSERT, DELETE, UPDATE (name, format, columns, safe, last_seq, last_export_at)
  ON seller_export_profiles TO service_role;
GRANT SELECT, INSERT, DELETE, UPDATE (state, row_count, total_count, byte_count, part_count, attempt, lease_until, started_at,
  ended_at, stop_requested_at, expires_at, error_message) ON seller_exports TO service_role;
GRANT SELECT, INSERT, DELETE ON seller_export_parts TO service_role;

GRANT SELECT, DELETE ON seller_export_profiles, seller_exports TO authenticated;
GRANT SELECT ON seller_export_parts TO authenticated;
GRANT INSERT (id, org_id, name, format, columns, safe, created_by), UPDATE (name, format, columns, safe, last_seq, last_export_at)
  ON seller_export_profiles TO authenticated;
GRANT INSERT (id, org_id, created_by, format, columns, filter, sort, descending, safe, only_new, profile_id),
  UPDATE (stop_requested_at) ON seller_exports TO authenticated;
