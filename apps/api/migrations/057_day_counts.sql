-- ============================================================================
-- 057: The provider's own count of the day
-- ============================================================================
-- Others may use the same key: from time to time one worker of the fleet reads
-- what the provider counted, and the account's own count follows it upward.
-- ============================================================================

ALTER TABLE provider_governors ADD COLUMN day_read_at timestamptz NOT NULL DEFAULT 'epoch';

COMMENT ON COLUMN provider_governors.day_read_at IS 'When the provider''s own count of the day was last asked for.';
COMMENT ON COLUMN provider_governors.day_calls IS 'Calls of the quota day that ends at day_ends_at: those claimed, or what the provider counted when that is more.';
