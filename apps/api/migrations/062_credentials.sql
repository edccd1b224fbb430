-- ============================================================================
-- 062: The installation's key, and credentials sealed with it
-- ============================================================================
-- The key itself is never here: it comes from the environment or from a file of
-- each machine (docs/compliance.md). What is here tells a wrong key from the
-- right one, and is of no use without it.
-- ============================================================================

-- ============================================================================
-- 1. Installation Key
-- ============================================================================
CREATE TABLE installation_key (
  one boolean NOT NULL DEFAULT true CONSTRAINT installation_key_pkey PRIMARY KEY CONSTRAINT installation_key_one CHECK (one),
  key_id text NOT NULL CONSTRAINT installation_key_id_form CHECK (key_id ~ '^[0-9a-f]{16}$'),
  key_check bytea NOT NULL CONSTRAINT installation_key_check_length CHECK (octet_length(key_check) = 32),
  hash_nonce bytea NOT NULL CONSTRAINT installation_key_nonce_length CHECK (octet_length(hash_nonce) = 12),
  hash_sealed bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  rotated_at timestamptz
);

COMMENT ON TABLE installation_key IS 'Which key this installation has: one row, made by the first process that starts.';
COMMENT ON COLUMN installation_key.key_check IS 'HMAC of the key over a fixed text: it knows the key again, and tells nothing about it.';
COMMENT ON COLUMN installation_key.hash_sealed IS 'The key by which names are hashed, sealed with the installation''s key: it stays when that one is replaced.';

-- ============================================================================
-- 2. Provider Credentials
-- ============================================================================
CREATE TABLE provider_credentials (
  account_id uuid NOT NULL REFERENCES provider_accounts(id) ON DELETE CASCADE,
  field text NOT NULL CONSTRAINT provider_credentials_field_known CHECK (field IN ('user', 'secret')),
  -- Accounts are shared by all organisations; who may replace what one has set, is not.
  org_id uuid REFERENCES orgs(id) ON DELETE SET NULL,
  key_id text NOT NULL CONSTRAINT provider_credentials_key_id_form CHECK (key_id ~ '^[0-9a-f]{16}$'),
  nonce bytea NOT NULL CONSTRAINT provider_credentials_nonce_length CHECK (octet_length(nonce) = 12),
  sealed bytea NOT NULL CONSTRAINT provider_credentials_sealed_length CHECK (octet_length(sealed) BETWEEN 16 AND 8192),
  ends text NOT NULL CONSTRAINT provider_credentials_ends_length CHECK (char_length(ends) <= 4),
  -- Not a foreign key: the row outlives the person.
  set_by uuid NOT NULL,
  set_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT provider_credentials_pkey PRIMARY KEY (account_id, field)
);

COMMENT ON TABLE provider_credentials IS 'Credentials of provider accounts, AES-256-GCM, bound to account and field. Workers use them when their environment has none.';
COMMENT ON COLUMN provider_credentials.ends IS 'The last four characters of a long secret, to tell keys apart.';

CREATE INDEX idx_provider_credentials_org_id ON provider_credentials(org_id);

-- ============================================================================
-- 3. Provider Terms
-- ============================================================================
-- Who of an organisation has read and accepted what a provider demands, and when.
CREATE TABLE provider_terms (
  org_id uuid NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  account_id uuid NOT NULL REFERENCES provider_accounts(id) ON DELETE CASCADE,
  confirmed_by uuid NOT NULL,
  confirmed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT provider_terms_pkey PRIMARY KEY (org_id, account_id)
);

COMMENT ON TABLE provider_terms IS 'That a provider''s terms were read and accepted for an organisation: by whom, when.';

CREATE INDEX idx_provider_terms_account_id ON provider_terms(account_id);

-- ============================================================================
-- 4. Access
-- ============================================================================
ALTER TABLE installation_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_terms ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON installation_key, provider_credentials, provider_terms FROM PUBLIC, anon, authenticated, service_role;

CREATE POLICY installation_key_service_role ON installation_key FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY provider_credentials_service_role ON provider_credentials
  FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY provider_terms_service_role ON provider_terms FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY provider_terms_member_read ON provider_terms
  FOR SELECT TO authenticated USING (org_id IN (SELECT member_org_ids()));
CREATE POLICY provider_terms_claim_org ON provider_terms AS RESTRICTIVE FOR ALL TO authenticated
  USING ((SELECT gleaner_claim_org()) IS NULL OR org_id = (SELECT gleaner_claim_org()));

GRANT SELECT, INSERT (key_id, key_check, hash_nonce, hash_sealed),
  UPDATE (key_id, key_check, hash_nonce, hash_sealed, rotated_at) ON installation_key TO service_role;
GRANT SELECT, DELETE, INSERT (account_id, field, org_id, key_id, nonce, sealed, ends, set_by),
  UPDATE (org_id, key_id, nonce, sealed, ends, set_by, set_at) ON provider_credentials TO service_role;
GRANT SELECT, INSERT (org_id, account_id, confirmed_by), UPDATE (confirmed_by, confirmed_at) ON provider_terms TO service_role;
GRANT SELECT ON provider_terms TO authenticated;
