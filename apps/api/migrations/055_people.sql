-- ============================================================================
-- 055: People: sign-in, invitations, keys
-- ============================================================================

-- ============================================================================
-- 1. A Role Of Its Own
-- ============================================================================
-- Password hashes, sessions and second factors are for the part of the program
-- that signs people in, and for nobody else: not for workers (service_role), not
-- for members. It in turn sees nothing of runs, sellers and money.
do $$
declare
  may_take boolean;
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'gleaner_auth') then
    begin
      create role gleaner_auth nologin noinherit;
    exception when duplicate_object or unique_violation then
      null; -- roles belong to the whole server: another database of it was migrated at the same moment
    end;
  end if;
  if current_setting('server_version_num')::int >= 160000 then
    execute 'select pg_catalog.pg_has_role(current_user, $1, ''SET'')' into may_take using 'gleaner_auth';
  else
    may_take := pg_catalog.pg_has_role(current_user, 'gleaner_auth', 'MEMBER');
  end if;
  if not may_take then
    execute format('grant gleaner_auth to %I', current_user);
  end if;
end
$$;

CREATE SCHEMA gleaner_auth;
REVOKE ALL ON SCHEMA gleaner_auth FROM PUBLIC;
GRANT USAGE ON SCHEMA gleaner_auth TO gleaner_auth;

-- ============================================================================
-- 2. Tables Of better-auth
-- ============================================================================
-- Its schema, under names of ours (src/auth/local-schema.ts); a test has it look
-- whether anything is missing. A person is a row of auth.users, which all else
-- refers to: what stands here is how that person signs in. On a Supabase project
-- these tables stay empty.
CREATE TABLE gleaner_auth.users (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT users_pkey PRIMARY KEY
    CONSTRAINT users_is_person REFERENCES auth.users(id) ON DELETE CASCADE,
  name text NOT NULL,
  email text NOT NULL CONSTRAINT users_email_unique UNIQUE
    CONSTRAINT users_email_lower CHECK (email = lower(email)),
  email_verified boolean NOT NULL DEFAULT false,
  image text,
  two_factor_enabled boolean DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gleaner_auth.sessions (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT sessions_pkey PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES gleaner_auth.users(id) ON DELETE CASCADE,
  token text NOT NULL CONSTRAINT sessions_token_unique UNIQUE,
  expires_at timestamptz NOT NULL,
  ip_address text,
  user_agent text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_sessions_user_id ON gleaner_auth.sessions(user_id);
COMMENT ON COLUMN gleaner_auth.sessions.token IS 'Useless alone: the cookie also carries a signature made with the secret of the installation, which is not in the database.';

CREATE TABLE gleaner_auth.accounts (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT accounts_pkey PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES gleaner_auth.users(id) ON DELETE CASCADE,
  account_id text NOT NULL,
  provider_id text NOT NULL,
  access_token text,
  refresh_token text,
  id_token text,
  access_token_expires_at timestamptz,
  refresh_token_expires_at timestamptz,
  scope text,
  password text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT accounts_identity_unique UNIQUE (provider_id, account_id),
  -- Nothing is asked of an identity provider after the sign-in, and what is not stored cannot leak.
  CONSTRAINT accounts_no_tokens CHECK (access_token IS NULL AND refresh_token IS NULL AND id_token IS NULL)
);
CREATE INDEX idx_accounts_user_id ON gleaner_auth.accounts(user_id);
COMMENT ON COLUMN gleaner_auth.accounts.provider_id IS 'credential = a password; oidc = the identity provider of the configuration.';
COMMENT ON COLUMN gleaner_auth.accounts.password IS 'scrypt, with a salt of its own.';

CREATE TABLE gleaner_auth.verifications (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT verifications_pkey PRIMARY KEY,
  identifier text NOT NULL,
  value text NOT NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_verifications_identifier ON gleaner_auth.verifications(identifier);

CREATE TABLE gleaner_auth.two_factors (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT two_factors_pkey PRIMARY KEY,
  user_id uuid NOT NULL CONSTRAINT two_factors_one_each UNIQUE REFERENCES gleaner_auth.users(id) ON DELETE CASCADE,
  secret text NOT NULL,
  backup_codes text NOT NULL,
  verified boolean DEFAULT true,
  failed_verification_count integer DEFAULT 0,
  locked_until timestamptz
);
COMMENT ON TABLE gleaner_auth.two_factors IS 'Secret and recovery codes, both encrypted with the secret of the installation.';

-- ============================================================================
-- 3. Our Own: Owner Links, Tries
-- ============================================================================
-- The first person gets in by a link printed on the server; so does an owner who
-- lost the way in. Only a hash of it is kept.
CREATE TABLE gleaner_auth.owner_links (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT owner_links_pkey PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
  token_hash bytea NOT NULL CONSTRAINT owner_links_token_unique UNIQUE
    CONSTRAINT owner_links_token_hash_length CHECK (octet_length(token_hash) = 32),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
CREATE INDEX idx_owner_links_org_id ON gleaner_auth.owner_links(org_id);
CREATE INDEX idx_owner_links_user_id ON gleaner_auth.owner_links(user_id);

-- Tries of a password, code or link, counted before the try is made, so that tries
-- at the same moment cannot all be the last one allowed.
CREATE TABLE gleaner_auth.tries (
  key text NOT NULL CONSTRAINT tries_pkey PRIMARY KEY,
  tries_count integer NOT NULL DEFAULT 1,
  since_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_tries_since_at ON gleaner_auth.tries(since_at);

-- ============================================================================
-- 4. People And Their Rows
-- ============================================================================
CREATE FUNCTION gleaner_auth.person_made() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO auth.users (id, email, raw_user_meta_data) VALUES (NEW.id, NEW.email, jsonb_build_object('name', NEW.name))
  ON CONFLICT (id) DO UPDATE SET email = excluded.email, updated_at = now(),
    raw_user_meta_data = coalesce(users.raw_user_meta_data, '{}') || excluded.raw_user_meta_data;
  RETURN NEW;
END
$$;

CREATE TRIGGER users_person_made BEFORE INSERT ON gleaner_auth.users
  FOR EACH ROW EXECUTE FUNCTION gleaner_auth.person_made();
CREATE TRIGGER users_person_changed BEFORE UPDATE ON gleaner_auth.users
  FOR EACH ROW WHEN ((OLD.email, OLD.name) IS DISTINCT FROM (NEW.email, NEW.name))
  EXECUTE FUNCTION gleaner_auth.person_made();

-- What a person does to their own account concerns every organisation that trusts
-- it: it is in the audit log of each of them.
CREATE FUNCTION gleaner_auth.audit_person(person uuid, act text, fields jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  INSERT INTO audit_log (org_id, actor_id, action, target, after)
  SELECT m.org_id, person, act, 'person:' || person, fields FROM org_members m WHERE m.user_id = person
$$;

CREATE FUNCTION gleaner_auth.account_audited() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM gleaner_auth.audit_person(OLD.user_id, 'person.identity_removed', jsonb_build_object('by', OLD.provider_id));
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM gleaner_auth.audit_person(NEW.user_id, 'person.password_changed');
  ELSIF NEW.provider_id = 'credential' THEN
    PERFORM gleaner_auth.audit_person(NEW.user_id, 'person.password_set');
  ELSE
    PERFORM gleaner_auth.audit_person(NEW.user_id, 'person.identity_added', jsonb_build_object('by', NEW.provider_id));
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER accounts_audited AFTER INSERT ON gleaner_auth.accounts
  FOR EACH ROW EXECUTE FUNCTION gleaner_auth.account_audited();
CREATE TRIGGER accounts_password_audited AFTER UPDATE ON gleaner_auth.accounts
  FOR EACH ROW WHEN (OLD.password IS DISTINCT FROM NEW.password) EXECUTE FUNCTION gleaner_auth.account_audited();
CREATE TRIGGER accounts_removal_audited AFTER DELETE ON gleaner_auth.accounts
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_auth.account_audited();

CREATE FUNCTION gleaner_auth.user_audited() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF NEW.name <> OLD.name THEN
    PERFORM gleaner_auth.audit_person(NEW.id, 'person.renamed', jsonb_build_object('name', NEW.name));
  END IF;
  IF NEW.email <> OLD.email THEN
    PERFORM gleaner_auth.audit_person(NEW.id, 'person.email_changed', jsonb_build_object('email', NEW.email));
  END IF;
  IF coalesce(NEW.two_factor_enabled, false) <> coalesce(OLD.two_factor_enabled, false) THEN
    PERFORM gleaner_auth.audit_person(NEW.id,
      CASE WHEN NEW.two_factor_enabled THEN 'person.second_factor_on' ELSE 'person.second_factor_off' END);
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER users_audited AFTER UPDATE ON gleaner_auth.users
  FOR EACH ROW EXECUTE FUNCTION gleaner_auth.user_audited();

-- One is used up, or all are made anew; before the second factor is on they guard nothing yet.
CREATE FUNCTION gleaner_auth.recovery_codes_audited() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM gleaner_auth.audit_person(NEW.user_id, 'person.recovery_codes_changed');
  RETURN NULL;
END
$$;

CREATE TRIGGER two_factors_audited AFTER UPDATE ON gleaner_auth.two_factors
  FOR EACH ROW WHEN (OLD.verified AND OLD.backup_codes IS DISTINCT FROM NEW.backup_codes)
  EXECUTE FUNCTION gleaner_auth.recovery_codes_audited();

-- ============================================================================
-- 5. Members
-- ============================================================================
-- Members are changed by owners only; anybody may leave, but never by a key. Only
-- where org_members is ours (003): a project's own table keeps its own policies.
DO $$
BEGIN
  IF EXISTS (
    SELECT FROM pg_catalog.pg_policies
    WHERE schemaname = 'public' AND tablename = 'org_members' AND policyname = 'org_members_service'
  ) THEN
    DROP POLICY org_members_insert ON org_members;
    DROP POLICY org_members_update ON org_members;
    DROP POLICY org_members_delete ON org_members;
    CREATE POLICY org_members_insert ON org_members FOR INSERT TO authenticated
      WITH CHECK (gleaner_has_role(org_id, 'owner'));
    CREATE POLICY org_members_update ON org_members FOR UPDATE TO authenticated
      USING (gleaner_has_role(org_id, 'owner')) WITH CHECK (gleaner_has_role(org_id, 'owner'));
    CREATE POLICY org_members_delete ON org_members FOR DELETE TO authenticated
      USING (gleaner_has_role(org_id, 'owner') OR (user_id = auth.uid() AND NOT auth.jwt() ? 'key_id'));

    EXECUTE $sql$
      CREATE FUNCTION gleaner_keep_an_owner() RETURNS trigger
      LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
      BEGIN
        -- Two owners who leave at the same moment wait for each other here. No row: the organisation itself goes.
        PERFORM FROM orgs WHERE id = OLD.org_id FOR NO KEY UPDATE;
        IF FOUND AND NOT EXISTS (SELECT FROM org_members WHERE org_id = OLD.org_id AND role = 'owner') THEN
          RAISE EXCEPTION 'an organisation keeps at least one owner' USING ERRCODE = 'GL007';
        END IF;
        RETURN NULL;
      END
      $body$
    $sql$;
    REVOKE ALL ON FUNCTION gleaner_keep_an_owner() FROM PUBLIC, anon, authenticated, service_role;
    CREATE TRIGGER org_members_owner_lowered AFTER UPDATE ON org_members
      FOR EACH ROW WHEN (OLD.role = 'owner' AND NEW.role <> 'owner') EXECUTE FUNCTION gleaner_keep_an_owner();
    CREATE TRIGGER org_members_owner_gone AFTER DELETE ON org_members
      FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION gleaner_keep_an_owner();
  END IF;
END
$$;

-- Names and addresses of the members of `org`, for its members. auth.users itself shows nobody to anybody.
CREATE FUNCTION gleaner_people(org uuid) RETURNS TABLE (user_id uuid, name text, email text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT u.id, coalesce(u.raw_user_meta_data ->> 'name', u.raw_user_meta_data ->> 'full_name'), u.email::text
  FROM org_members m JOIN auth.users u ON u.id = m.user_id
  WHERE m.org_id = org AND gleaner_has_role(org, 'viewer')
$$;

-- The signed-in person.
CREATE FUNCTION gleaner_me() RETURNS TABLE (user_id uuid, name text, email text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT u.id, coalesce(u.raw_user_meta_data ->> 'name', u.raw_user_meta_data ->> 'full_name'), u.email::text
  FROM auth.users u WHERE u.id = auth.uid()
$$;

-- ============================================================================
-- 6. Invitations
-- ============================================================================
CREATE TABLE org_invitations (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT org_invitations_pkey PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  email text NOT NULL CONSTRAINT org_invitations_email_lower CHECK (email = lower(email) AND char_length(email) <= 254),
  role text NOT NULL CONSTRAINT org_invitations_role_known CHECK (role IN ('owner', 'admin', 'analyst', 'viewer')),
  -- SHA-256 of 256 random bits: nothing to guess, so nothing a slow hash would slow down.
  token_hash bytea NOT NULL CONSTRAINT org_invitations_token_unique UNIQUE
    CONSTRAINT org_invitations_token_hash_length CHECK (octet_length(token_hash) = 32),
  -- Not foreign keys: the row outlives the person.
  invited_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '7 days',
  accepted_at timestamptz,
  accepted_by uuid,
  revoked_at timestamptz,
  revoked_by uuid,
  CONSTRAINT org_invitations_one_end CHECK (accepted_at IS NULL OR revoked_at IS NULL),
  CONSTRAINT org_invitations_accepted_by_somebody CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
  CONSTRAINT org_invitations_revoked_by_somebody CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX idx_org_invitations_org_id ON org_invitations(org_id, created_at, id);
CREATE UNIQUE INDEX org_invitations_one_open ON org_invitations(org_id, email)
  WHERE accepted_at IS NULL AND revoked_at IS NULL;
COMMENT ON TABLE org_invitations IS 'One-time links by which a person becomes a member. The link itself is shown once and not kept.';

-- ============================================================================
-- 7. API Keys
-- ============================================================================
CREATE TABLE api_keys (
  id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT api_keys_pkey PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  name text NOT NULL CONSTRAINT api_keys_name_length CHECK (char_length(btrim(name)) BETWEEN 1 AND 100),
  -- The first characters of the key, by which it is found and recognised; not secret.
  prefix text NOT NULL CONSTRAINT api_keys_prefix_unique UNIQUE
    CONSTRAINT api_keys_prefix_form CHECK (prefix ~ '^glk_[0-9a-z]{10}$'),
  last_four text NOT NULL CONSTRAINT api_keys_last_four_length CHECK (char_length(last_four) = 4),
  secret_hash bytea NOT NULL CONSTRAINT api_keys_secret_hash_length CHECK (octet_length(secret_hash) = 32),
  scopes text[] NOT NULL CONSTRAINT api_keys_scopes_known CHECK (
    cardinality(scopes) BETWEEN 1 AND 8
    AND scopes <@ ARRAY['read', 'sellers:write', 'exports:write', 'runs:write', 'settings:write']),
  max_role text NOT NULL CONSTRAINT api_keys_max_role_known CHECK (max_role IN ('admin', 'analyst', 'viewer')),
  -- Whose key it is: it may never do more than this person may do now. Not a foreign key: the row outlives the person.
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  revoked_by uuid,
  CONSTRAINT api_keys_revoked_by_somebody CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX idx_api_keys_org_id ON api_keys(org_id, created_at, id);
COMMENT ON TABLE api_keys IS 'Keys of programs, for one organisation. The secret is shown once; what is kept is its hash.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Written at most once a minute.';

-- ============================================================================
-- 8. Access
-- ============================================================================
ALTER TABLE gleaner_auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE gleaner_auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE gleaner_auth.accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE gleaner_auth.verifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE gleaner_auth.two_factors ENABLE ROW LEVEL SECURITY;
ALTER TABLE gleaner_auth.owner_links ENABLE ROW LEVEL SECURITY;
ALTER TABLE gleaner_auth.tries ENABLE ROW LEVEL SECURITY;
ALTER TABLE org_invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON ALL TABLES IN SCHEMA gleaner_auth FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON org_invitations, api_keys FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gleaner_auth FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION gleaner_people(uuid), gleaner_me() FROM PUBLIC, anon, authenticated, service_role;

CREATE POLICY users_sign_in ON gleaner_auth.users FOR ALL TO gleaner_auth USING (true) WITH CHECK (true);
CREATE POLICY sessions_sign_in ON gleaner_auth.sessions FOR ALL TO gleaner_auth USING (true) WITH CHECK (true);
CREATE POLICY accounts_sign_in ON gleaner_auth.accounts FOR ALL TO gleaner_auth USING (true) WITH CHECK (true);
CREATE POLICY verifications_sign_in ON gleaner_auth.verifications FOR ALL TO gleaner_auth USING (true) WITH CHECK (true);
CREATE POLICY two_factors_sign_in ON gleaner_auth.two_factors FOR ALL TO gleaner_auth USING (true) WITH CHECK (true);
CREATE POLICY owner_links_sign_in ON gleaner_auth.owner_links FOR ALL TO gleaner_auth USING (true) WITH CHECK (true);
CREATE POLICY tries_sign_in ON gleaner_auth.tries FOR ALL TO gleaner_auth USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gleaner_auth TO gleaner_auth;
GRANT EXECUTE ON FUNCTION gleaner_auth.audit_person(uuid, text, jsonb) TO gleaner_auth;

-- The door looks keys up and notes their use, and lets invited people in, before anybody is signed in.
CREATE POLICY org_invitations_service_role ON org_invitations FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY api_keys_service_role ON api_keys FOR ALL TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (accepted_at, accepted_by) ON org_invitations TO service_role;
GRANT SELECT, UPDATE (last_used_at) ON api_keys TO service_role;

-- Admins see and revoke both, and invite up to their own role. Hashes are for the door alone.
CREATE POLICY org_invitations_admin_read ON org_invitations FOR SELECT TO authenticated
  USING (gleaner_has_role(org_id, 'admin'));
CREATE POLICY org_invitations_admin_insert ON org_invitations FOR INSERT TO authenticated
  WITH CHECK (gleaner_has_role(org_id, 'admin') AND gleaner_has_role(org_id, role) AND invited_by = auth.uid());
CREATE POLICY org_invitations_admin_revoke ON org_invitations FOR UPDATE TO authenticated
  USING (gleaner_has_role(org_id, 'admin') AND gleaner_has_role(org_id, role) AND revoked_at IS NULL AND accepted_at IS NULL)
  WITH CHECK (revoked_by IS NULL OR revoked_by = auth.uid());
GRANT SELECT (id, org_id, email, role, invited_by, created_at, expires_at, accepted_at, accepted_by, revoked_at, revoked_by),
  INSERT (id, org_id, email, role, token_hash, invited_by),
  UPDATE (revoked_at, revoked_by) ON org_invitations TO authenticated;

-- A key is made by a person, never by a key. What was revoked stays so.
CREATE POLICY api_keys_admin_read ON api_keys FOR SELECT TO authenticated
  USING (gleaner_has_role(org_id, 'admin'));
CREATE POLICY api_keys_admin_insert ON api_keys FOR INSERT TO authenticated
  WITH CHECK (gleaner_has_role(org_id, 'admin') AND created_by = auth.uid() AND NOT auth.jwt() ? 'key_id');
CREATE POLICY api_keys_admin_revoke ON api_keys FOR UPDATE TO authenticated
  USING (gleaner_has_role(org_id, 'admin') AND revoked_at IS NULL)
  WITH CHECK (revoked_by IS NULL OR revoked_by = auth.uid());
GRANT SELECT (id, org_id, name, prefix, last_four, scopes, max_role, created_by, created_at, expires_at, last_used_at,
    revoked_at, revoked_by),
  INSERT (id, org_id, name, prefix, last_four, secret_hash, scopes, max_role, created_by, expires_at),
  UPDATE (revoked_at, revoked_by) ON api_keys TO authenticated;

-- Through a request for one organisation only that organisation is visible (054).
CREATE POLICY org_invitations_claim ON org_invitations AS RESTRICTIVE FOR ALL TO authenticated
  USING (gleaner_claim_org() IS NULL OR org_id = gleaner_claim_org());
CREATE POLICY api_keys_claim ON api_keys AS RESTRICTIVE FOR ALL TO authenticated
  USING (gleaner_claim_org() IS NULL OR org_id = gleaner_claim_org());

GRANT EXECUTE ON FUNCTION gleaner_people(uuid), gleaner_me() TO authenticated, service_role;
