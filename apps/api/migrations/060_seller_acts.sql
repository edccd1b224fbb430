-- ============================================================================
-- 060: What people do to the seller list: acts and their undo, names, views
-- ============================================================================

-- ============================================================================
-- 1. Seller Acts
-- ============================================================================
-- One row for each act on many sellers, and what each of them was before: enough
-- to undo it exactly, once, for a day.
CREATE TABLE seller_acts (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  -- Not a foreign key: the row outlives the person.
  actor_id uuid NOT NULL,
  -- Millisecond precision: it goes through programs that know no finer.
  at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
  kind text NOT NULL CONSTRAINT seller_acts_kind_known CHECK (kind IN ('flag', 'note', 'remove', 'restore')),
  seller_count integer NOT NULL DEFAULT 0 CONSTRAINT seller_acts_count_range CHECK (seller_count >= 0),
  undone_at timestamptz,
  undone_by uuid,
  CONSTRAINT seller_acts_undone_whole CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);

COMMENT ON TABLE seller_acts IS 'Acts of people on many sellers at once; the id is the token to undo it.';

CREATE INDEX idx_seller_acts_org_id ON seller_acts(org_id, at);

CREATE TABLE seller_act_rows (
  act_id uuid NOT NULL REFERENCES seller_acts(id) ON DELETE CASCADE,
  seller_id uuid NOT NULL REFERENCES sellers(id) ON DELETE CASCADE,
  org_id uuid NOT NULL,
  flag text,
  flagged_by uuid,
  flagged_at timestamptz,
  note text,
  noted_by uuid,
  noted_at timestamptz,
  removed_at timestamptz,
  removed_by uuid,
  revision integer NOT NULL,
  CONSTRAINT seller_act_rows_pkey PRIMARY KEY (act_id, seller_id)
);

COMMENT ON TABLE seller_act_rows IS 'What each seller of an act was before it. Kept while the act can be undone.';
COMMENT ON COLUMN seller_act_rows.revision IS 'Of its marks after the act: another one now means that somebody changed it since.';

CREATE INDEX idx_seller_act_rows_seller_id ON seller_act_rows(seller_id);

-- ============================================================================
-- 2. Seller Names
-- ============================================================================
CREATE TABLE seller_names (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT seller_names_pkey PRIMARY KEY,
  seller_id uuid NOT NULL REFERENCES sellers(id) ON DELETE CASCADE,
  org_id uuid NOT NULL,
  name text NOT NULL CONSTRAINT seller_names_length CHECK (char_length(name) BETWEEN 1 AND 200),
  until_at timestamptz NOT NULL DEFAULT now(),
  changed_by uuid NOT NULL
);

COMMENT ON TABLE seller_names IS 'Names a seller was shown under before a person gave it another.';

CREATE INDEX idx_seller_names_seller_id ON seller_names(seller_id);

-- ============================================================================
-- 3. Seller Views
-- ============================================================================
CREATE TABLE seller_views (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  name text NOT NULL CONSTRAINT seller_views_name_length CHECK (char_length(btrim(name)) BETWEEN 1 AND 100),
  filter jsonb NOT NULL DEFAULT '{}' CONSTRAINT seller_views_filter_object CHECK (jsonb_typeof(filter) = 'object'),
  sort text NOT NULL DEFAULT 'score',
  descending boolean NOT NULL DEFAULT true,
  columns text[] NOT NULL DEFAULT '{}',
  revision integer NOT NULL DEFAULT 1,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz,
  CONSTRAINT seller_views_unique UNIQUE (org_id, name)
);

COMMENT ON TABLE seller_views IS 'Saved views of the seller list: filter, order and columns under a name. Of the whole organisation.';

CREATE TRIGGER seller_views_touch BEFORE UPDATE ON seller_views FOR EACH ROW EXECUTE FUNCTION gleaner_touch();

-- ============================================================================
-- 4. Access
-- ============================================================================
ALTER TABLE seller_acts ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_act_rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_names ENABLE ROW LEVEL SECURITY;
ALTER TABLE seller_views ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON seller_acts, seller_act_rows, seller_names, seller_views FROM PUBLIC, anon, authenticated, service_role;

DO $$
DECLARE
  owned text;
  analysts text := 'org_id IN (SELECT m.org FROM member_org_ids() AS m(org) WHERE gleaner_has_role(m.org, ''analyst''))';
BEGIN
  FOREACH owned IN ARRAY ARRAY['seller_acts', 'seller_act_rows', 'seller_names', 'seller_views'] LOOP
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO service_role USING (true) WITH CHECK (true)', owned || '_service_role', owned);
    EXECUTE format('CREATE POLICY %I ON %I FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()))',
      owned || '_member_read', owned);
    EXECUTE format(
      'CREATE POLICY %I ON %I AS RESTRICTIVE FOR ALL TO authenticated
         USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()))', owned || '_claim_org', owned);
  END LOOP;
  FOREACH owned IN ARRAY ARRAY['seller_act_rows', 'seller_names'] LOOP
    EXECUTE format('CREATE POLICY %I ON %I FOR INSERT TO authenticated WITH CHECK (%s
      AND EXISTS (SELECT FROM sellers s WHERE s.id = seller_id AND s.org_id = %I.org_id))', owned || '_analyst_insert', owned, analysts, owned);
  END LOOP;
  EXECUTE format('CREATE POLICY seller_acts_analyst_insert ON seller_acts FOR INSERT TO authenticated
    WITH CHECK (actor_id = auth.uid() AND %s)', analysts);
  EXECUTE format('CREATE POLICY seller_acts_analyst_update ON seller_acts FOR UPDATE TO authenticated
    USING (%s) WITH CHECK (%s)', analysts, analysts);
  EXECUTE format('CREATE POLICY seller_views_analyst_write ON seller_views FOR ALL TO authenticated
    USING (%s) WITH CHECK (%s)', analysts, analysts);
  EXECUTE format('CREATE POLICY sellers_analyst_update ON sellers FOR UPDATE TO authenticated
    USING (%s) WITH CHECK (%s)', analysts, analysts);
END
$$;

GRANT SELECT, DELETE ON seller_acts, seller_act_rows, seller_names TO service_role;
GRANT INSERT (id, org_id, actor_id, kind), UPDATE (seller_count, undone_at, undone_by) ON seller_acts TO service_role;
GRANT INSERT ON seller_act_rows TO service_role;
GRANT INSERT (seller_id, org_id, name, changed_by) ON seller_names TO service_role;
GRANT SELECT, INSERT, DELETE, UPDATE (name, filter, sort, descending, columns, revision) ON seller_views TO service_role;

GRANT SELECT ON seller_acts, seller_act_rows, seller_names, seller_views TO authenticated;
GRANT INSERT (id, org_id, actor_id, kind), UPDATE (seller_count, undone_at, undone_by) ON seller_acts TO authenticated;
GRANT INSERT ON seller_act_rows TO authenticated;
GRANT INSERT (seller_id, org_id, name, changed_by) ON seller_names TO authenticated;
GRANT DELETE, INSERT (id, org_id, name, filter, sort, descending, columns, created_by),
  UPDATE (name, filter, sort, descending, columns, revision) ON seller_views TO authenticated;
GRANT UPDATE (display_name) ON sellers TO authenticated;
