-- ============================================================================
-- 054: API access: what people and keys may do in the database
-- ============================================================================
-- Every request of a person or a key runs as `authenticated` with its claims:
-- {sub, role, org_id, key_id?, max_role?}. What it reads and writes is decided
-- here, not by the routes (ADR 0015).
-- ============================================================================

-- ============================================================================
-- 1. What Policies Ask
-- ============================================================================
-- The organisation a request works in; null where no claim names one.
CREATE FUNCTION gleaner_claim_org() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT nullif(auth.jwt() ->> 'org_id', '')::uuid $$;

-- True when the one who asks has at least the role `at_least` in `org`: owner > admin > analyst > viewer. A key's `max_role`
-- lowers the role of the person it belongs to; a key without one may nothing, and nobody may anything in an organisation
-- other than the one the claims name.
CREATE FUNCTION gleaner_has_role(org uuid, at_least text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT coalesce(
    array_position(roles, public.member_role(org)) >= array_position(roles, at_least)
    AND (NOT claims ?| ARRAY['key_id', 'max_role']
      OR coalesce(array_position(roles, claims ->> 'max_role') >= array_position(roles, at_least), false))
    AND coalesce(nullif(claims ->> 'org_id', '')::uuid = org, true), false)
  FROM (SELECT ARRAY['viewer', 'analyst', 'admin', 'owner'] AS roles, coalesce(auth.jwt(), '{}') AS claims) asked
$$;

REVOKE ALL ON FUNCTION gleaner_claim_org(), gleaner_has_role(uuid, text) FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION gleaner_claim_org(), gleaner_has_role(uuid, text) TO authenticated, service_role;

-- ============================================================================
-- 2. One Organisation At A Time
-- ============================================================================
-- Whoever belongs to several sees, with claims that name one, that one only.
-- Rows that hang on a run follow it: their policies look for the run under its
-- own.
DO $$
DECLARE
  owned text;
BEGIN
  FOREACH owned IN ARRAY ARRAY['collection_settings', 'collection_runs', 'collection_months', 'collection_notifications',
    'collection_run_figures', 'collection_category_figures', 'collection_hooks', 'sellers', 'audit_log']
  LOOP
    EXECUTE format(
      'CREATE POLICY %I ON %I AS RESTRICTIVE FOR ALL TO authenticated
         USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()))', owned || '_claim_org', owned);
  END LOOP;
END
$$;

-- ============================================================================
-- 3. Organisations And Members
-- ============================================================================
-- As 005 has it, and a key does no more than its role. Tables a project brought
-- with it keep the policies they came with.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = 'orgs' AND policyname = 'orgs_service') THEN
    CREATE POLICY orgs_claim_org ON orgs AS RESTRICTIVE FOR ALL TO authenticated
      USING ((SELECT gleaner_claim_org()) IS NULL OR id = (SELECT gleaner_claim_org()));
    ALTER POLICY orgs_update ON orgs
      USING (gleaner_has_role(id, 'admin')) WITH CHECK (gleaner_has_role(id, 'admin'));
  END IF;
  IF EXISTS (
    SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = 'org_members' AND policyname = 'org_members_service'
  ) THEN
    CREATE POLICY org_members_claim_org ON org_members AS RESTRICTIVE FOR ALL TO authenticated
      USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()));
    ALTER POLICY org_members_insert ON org_members
      WITH CHECK (gleaner_has_role(org_id, 'owner') OR (gleaner_has_role(org_id, 'admin') AND role <> 'owner'));
    ALTER POLICY org_members_update ON org_members
      USING (gleaner_has_role(org_id, 'owner') OR (gleaner_has_role(org_id, 'admin') AND role <> 'owner'))
      WITH CHECK (gleaner_has_role(org_id, 'owner') OR (gleaner_has_role(org_id, 'admin') AND role <> 'owner'));
    ALTER POLICY org_members_delete ON org_members
      USING (gleaner_has_role(org_id, 'owner') OR (gleaner_has_role(org_id, 'admin') AND role <> 'owner'));
  END IF;
END
$$;

-- ============================================================================
-- 4. Settings And Runs
-- ============================================================================
-- Any member may store the defaults, which says nothing new; admins change them.
CREATE POLICY collection_settings_member_begin ON collection_settings
  FOR INSERT TO authenticated WITH CHECK (gleaner_has_role(org_id, 'viewer'));
CREATE POLICY collection_settings_admin_update ON collection_settings
  FOR UPDATE TO authenticated USING (gleaner_has_role(org_id, 'admin')) WITH CHECK (gleaner_has_role(org_id, 'admin'));
GRANT INSERT (org_id),
  UPDATE (budget_cap_cents, soft_warning_percent, max_concurrent_runs, filters, month_cap_micros)
  ON collection_settings TO authenticated;

-- Acts on a run are the engine's, as service_role; whether a person may do them is decided by this policy, when the act's
-- transaction locks the run as that person first (db/acting.ts). The name is the one thing a person writes directly.
CREATE POLICY collection_runs_admin_update ON collection_runs
  FOR UPDATE TO authenticated USING (gleaner_has_role(org_id, 'admin')) WITH CHECK (gleaner_has_role(org_id, 'admin'));
CREATE POLICY collection_runs_owner_delete ON collection_runs
  FOR DELETE TO authenticated USING (gleaner_has_role(org_id, 'owner'));
GRANT UPDATE (name), DELETE ON collection_runs TO authenticated;

-- The fleet is everybody's: like provider accounts, workers belong to the installation. Their lanes show runs of one's own only.
CREATE POLICY collection_workers_member_read ON collection_workers
  FOR SELECT TO authenticated USING (EXISTS (SELECT FROM member_org_ids()));
GRANT SELECT ON collection_workers TO authenticated;

-- ============================================================================
-- 5. Audit
-- ============================================================================
-- With which key, when it was one. From the claims of the transaction: nobody gives it.
ALTER TABLE audit_log ADD COLUMN key_id uuid
  DEFAULT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'key_id')::uuid;
COMMENT ON COLUMN audit_log.key_id IS 'The API key the act was done with; null for a person at the screen or the command line.';

ALTER POLICY audit_log_admin_read ON audit_log USING (gleaner_has_role(org_id, 'admin'));
CREATE POLICY audit_log_member_append ON audit_log
  FOR INSERT TO authenticated
  WITH CHECK (actor_id = auth.uid() AND org_id = gleaner_claim_org() AND gleaner_has_role(org_id, 'viewer'));
GRANT INSERT (org_id, actor_id, action, target, before, after, note) ON audit_log TO authenticated;

-- ============================================================================
-- 6. API Requests
-- ============================================================================
-- What a write with an Idempotency-Key was answered, in the transaction of the
-- write: the same key again gets the same answer, and a write that failed left
-- nothing.
CREATE TABLE api_requests (
  -- person:<id> or key:<id>
  principal text NOT NULL CONSTRAINT api_requests_principal_form CHECK (principal ~ '^(person|key):[0-9a-f-]{36}$'),
  key text NOT NULL CONSTRAINT api_requests_key_length CHECK (char_length(key) BETWEEN 1 AND 200),
  user_id uuid NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
  request_hash bytea NOT NULL CONSTRAINT api_requests_hash_length CHECK (octet_length(request_hash) = 32),
  status integer CONSTRAINT api_requests_status_range CHECK (status BETWEEN 200 AND 299),
  headers jsonb,
  answer text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT api_requests_pkey PRIMARY KEY (principal, key)
);

COMMENT ON TABLE api_requests IS 'What writes with an Idempotency-Key were answered, for 24 hours.';
COMMENT ON COLUMN api_requests.request_hash IS 'SHA-256 of method, path and body.';
COMMENT ON COLUMN api_requests.answer IS 'Null with a status: it had none. Null without: it held a secret, and may not be kept.';

CREATE INDEX idx_api_requests_user_id ON api_requests(user_id);
CREATE INDEX idx_api_requests_created_at ON api_requests(created_at);

ALTER TABLE api_requests ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON api_requests FROM PUBLIC, anon, authenticated, service_role;
CREATE POLICY api_requests_service_role ON api_requests FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY api_requests_own ON api_requests FOR ALL TO authenticated
  USING (user_id = auth.uid() AND principal =
    coalesce('key:' || nullif(auth.jwt() ->> 'key_id', ''), 'person:' || (auth.jwt() ->> 'sub')));
GRANT SELECT, DELETE ON api_requests TO service_role;
GRANT SELECT, DELETE, INSERT (principal, key, user_id, request_hash), UPDATE (status, headers, answer)
  ON api_requests TO authenticated;
