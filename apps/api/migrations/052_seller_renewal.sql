-- ============================================================================
-- 052: Sellers are renewed in place
-- ============================================================================
-- A seller met again in a run gets a new last_seen_run_id. With an index on it,
-- each such renewal wrote a new entry into every index of sellers; without it
-- the new version stays on its page (HOT), for which 042 left room. The price:
-- deleting a run, which is rare, reads all sellers once to forget it.
-- bench/growth.ts measures the renewal.
-- ============================================================================
DROP INDEX idx_sellers_last_seen_run_id;
