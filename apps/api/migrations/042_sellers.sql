-- ============================================================================
-- 042: What sellers lack, and the evidence for each
-- ============================================================================

-- ============================================================================
-- 1. Sellers
-- ============================================================================
ALTER TABLE sellers
  ADD COLUMN feedback_permille integer,
  ADD COLUMN first_seen_at timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN last_seen_at timestamptz NOT NULL DEFAULT now(),
  ADD CONSTRAINT sellers_name_length CHECK (char_length(display_name) BETWEEN 1 AND 200),
  ADD CONSTRAINT sellers_normalized_length
    CHECK (char_length(normalized_name) BETWEEN 1 AND 200),
  ADD CONSTRAINT sellers_times_seen_range CHECK (times_seen >= 0),
  ADD CONSTRAINT sellers_item_count_range CHECK (item_count >= 0),
  ADD CONSTRAINT sellers_feedback_permille_range CHECK (feedback_permille BETWEEN 0 AND 1000);

COMMENT ON COLUMN sellers.item_count IS 'Listings of this seller in the run that saw it last, one per product it was found for.';
COMMENT ON COLUMN sellers.times_seen IS 'Number of distinct runs in which this seller was seen, exactly.';
COMMENT ON COLUMN sellers.feedback_permille IS 'Positive feedback in tenths of a per cent: 99.2 % is 992.';
COMMENT ON COLUMN sellers.platform_id IS 'The provider''s unchanging id of the seller, when known. Never lower-cased.';

-- Room for a second version of a row on its page: a seller is renewed once per run.
ALTER TABLE sellers SET (fillfactor = 85);

-- The unique constraint begins with org_id. Beside it, the index on org_id alone is a trap: for an organisation the
-- statistics do not know yet the planner takes it, and reads every seller of the organisation for each name.
DROP INDEX idx_sellers_org_id;

CREATE INDEX idx_sellers_first_seen_run_id ON sellers(first_seen_run_id);
CREATE INDEX idx_sellers_last_seen_run_id ON sellers(last_seen_run_id);
CREATE TRIGGER sellers_touch BEFORE UPDATE ON sellers
  FOR EACH ROW EXECUTE FUNCTION gleaner_touch();

-- ============================================================================
-- 2. Collection Sightings
-- ============================================================================
-- The evidence, one row per answered search: the sellers as an array, and for
-- each of them, in the same order, its listings and the feedback shown then.
-- Measured against one row per seller or per listing in docs/adr/0004.
-- `sightings` below is its relational face.
CREATE TABLE collection_sightings (
  item_id uuid NOT NULL REFERENCES collection_items(id) ON DELETE CASCADE,
  rung smallint NOT NULL,
  call_id uuid NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(),
  seller_ids uuid[] NOT NULL,
  listing_counts smallint[] NOT NULL,
  -- json, not jsonb: it is stored and read whole, and taking it apart cost a third of writing it.
  evidence json NOT NULL,
  CONSTRAINT collection_sightings_pkey PRIMARY KEY (item_id, rung),
  CONSTRAINT collection_sightings_aligned CHECK (cardinality(listing_counts) = cardinality(seller_ids))
);

COMMENT ON COLUMN collection_sightings.listing_counts IS
  'Listings of each seller, in the order of seller_ids: counting needs no look into the evidence, which is compressed.';
COMMENT ON COLUMN collection_sightings.evidence IS
  'Per seller, in the order of seller_ids: [feedback score, feedback permille, [[listing id, title, price in cents, position], ...]].';

CREATE INDEX idx_collection_sightings_sellers ON collection_sightings USING gin (seller_ids);

-- ============================================================================
-- 3. Sightings
-- ============================================================================
-- One row per listing seen. Row level security is that of the reader.
CREATE VIEW sightings WITH (security_invoker = true) AS
  SELECT i.run_id, s.item_id, i.external_id AS asin, s.rung, s.call_id, s.seen_at, sold.seller_id,
    (sold.proof ->> 0)::int AS feedback_score,
    (sold.proof ->> 1)::int AS feedback_permille,
    listing ->> 0 AS listing_id,
    listing ->> 1 AS title,
    (listing ->> 2)::int AS price_cents,
    (listing ->> 3)::int AS position
  FROM collection_sightings s
  JOIN collection_items i ON i.id = s.item_id
  CROSS JOIN LATERAL (
    SELECT s.seller_ids[n] AS seller_id, s.evidence -> (n - 1) AS proof
    FROM generate_series(1, cardinality(s.seller_ids)) AS n
  ) sold
  CROSS JOIN LATERAL json_array_elements(sold.proof -> 2) AS listing;

COMMENT ON VIEW sightings IS 'One row per listing seen: run, product, seller, listing, price, position, time.';
