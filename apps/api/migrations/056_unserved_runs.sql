-- ============================================================================
-- 056: Runs nobody has credentials for
-- ============================================================================
-- Credentials stay in the environment of the workers; each says by name what it
-- has. A run whose accounts no worker can use pauses and says so, instead of
-- keeping its share of a window and of the lanes; it goes on when one can.
-- ============================================================================

-- ============================================================================
-- 1. Workers
-- ============================================================================
-- A worker of a version before says nothing.
ALTER TABLE collection_workers ADD COLUMN credentials text[];

COMMENT ON COLUMN collection_workers.credentials IS 'Names of the credentials in its environment (EBAY_USER, EBAY_SECRET), never their values; null: it does not say, and is taken to have all.';

-- ============================================================================
-- 2. Runs
-- ============================================================================
ALTER TABLE collection_runs
  ADD COLUMN pause_unserved boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT collection_runs_pause_unserved_is_provider
    CHECK ((NOT pause_unserved OR (status = 'paused' AND pause_reason = 'provider')) IS TRUE);

COMMENT ON COLUMN collection_runs.pause_unserved IS 'Of a pause by provider: no worker has credentials for the accounts it needs. It goes on when one has.';

CREATE OR REPLACE FUNCTION gleaner_run_pause_ends() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  NEW.pause_limit := NULL;
  NEW.pause_needs_micros := NULL;
  NEW.pause_unserved := false;
  RETURN NEW;
END
$$;

-- ============================================================================
-- 3. Access
-- ============================================================================
GRANT UPDATE (pause_unserved) ON collection_runs TO service_role;
