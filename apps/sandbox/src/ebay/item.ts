/** One listing as the Browse API writes it, in a search and on its own. */
import { decimal, json, type Reply } from '../exchange.ts'
import type { Hits } from '../faults.ts'
import { codeOf, hash53 } from '../random.ts'
import type { Listing } from '../world/listings.ts'
import type { Seller } from '../world/sellers.ts'
import type { World } from '../world/world.ts'
import { browseError, errorReply } from './errors.ts'

const HEX = '0123456789abcdef'

/** One element of `itemSummaries`, as JSON text: written by hand because a page has up to 200 of them. */
export function summaryJson(row: Listing, hits: Hits, origin: string): string {
  const itemId = `v1|${row.legacyId}|${row.variationId}`
  const leaf = categoryNumber(row.home)
  const group = row.variationId === '0' ? '' : groupJson(row, origin)
  const condition = row.conditionId === null ? '' : `"condition":"${row.condition}","conditionId":"${row.conditionId}",`
  const postal = Number(row.legacyId) % 2 === 0 ? `"postalCode":"${row.legacyId.slice(3, 6)}**",` : ''
  const image = codeOf(row.legacyId, HEX, 12)
  return (
    `{"itemId":"${itemId}","title":${JSON.stringify(row.title)},${group}"leafCategoryIds":["${leaf}"],` +
    `"categories":[{"categoryId":"${leaf}","categoryName":${JSON.stringify(`Leaf ${leaf}`)}}],` +
    `"image":{"imageUrl":"https://i.ebayimg.example/images/g/${image}/s-l225.jpg"},"price":${priceJson(row)},` +
    `"itemHref":"${origin}/buy/browse/v1/item/${encodeURIComponent(itemId)}","seller":${sellerJson(row, hits)},` +
    `${condition}"thumbnailImages":[{"imageUrl":"https://i.ebayimg.example/images/g/${image}/s-l1200.jpg"}],` +
    `"shippingOptions":[${shippingJson(row)}],"buyingOptions":${JSON.stringify(row.buyingOptions)},` +
    `"itemWebUrl":"https://www.ebay.example/itm/${row.legacyId}?hash=item${image}",` +
    `"itemLocation":{${postal}"country":"${row.country}"},"adultOnly":false,"legacyItemId":"${row.legacyId}",` +
    `"availableCoupons":false,"itemOriginDate":"${isoOf(row)}","itemCreationDate":"${isoOf(row)}",` +
    `"topRatedBuyingExperience":${row.seller.feedbackScore > 5000},"priorityListing":${row.score > 0.97},` +
    `"listingMarketplaceId":"EBAY_US"}`
  )
}

/** getItem: the answer that carries the seller's unchanging id. */
export function itemReply(world: World, itemId: string, hits: Hits, origin: string): Reply {
  const [version, legacyId = '', variationId] = itemId.split('|')
  const row = version === 'v1' ? world.listing(legacyId, variationId) : null
  if (!row) return errorReply(404, browseError(11001, [{ name: 'itemId', value: itemId }]))
  const summary = JSON.parse(summaryJson(row, hits, origin)) as Record<string, unknown>
  const seller = summary['seller'] as Record<string, unknown>
  return json(200, {
    ...summary,
    seller: { userId: row.seller.userId, ...seller },
    brand: world.product(row.asin)?.brand,
    ...(row.gtin === null ? {} : { gtin: row.gtin }),
    estimatedAvailabilities: [
      { deliveryOptions: ['SHIP_TO_HOME'], estimatedAvailabilityStatus: 'IN_STOCK', estimatedAvailableQuantity: 1 },
    ],
  })
}

/** eBay's own category number for a home category: invented. */
export function categoryNumber(home: string): number {
  return 1000 + (hash53(home) % 260_000)
}

function groupJson(row: Listing, origin: string): string {
  return (
    `"itemGroupHref":"${origin}/buy/browse/v1/item/get_items_by_item_group?item_group_id=${row.legacyId}",` +
    '"itemGroupType":"SELLER_DEFINED_VARIATIONS",'
  )
}

function priceJson(row: Listing): string {
  const from = row.convertedFrom
  const converted =
    from === null ? '' : `,"convertedFromValue":"${decimal(from.cents)}","convertedFromCurrency":"${from.currency}"`
  return `{"value":"${decimal(row.cents)}","currency":"USD"${converted}}`
}

function shippingJson(row: Listing): string {
  const cost =
    row.shipping.cents === null ? '' : `,"shippingCost":{"value":"${decimal(row.shipping.cents)}","currency":"USD"}`
  return `{"shippingCostType":"${row.shipping.type}"${cost}}`
}

function sellerJson(row: Listing, hits: Hits): string {
  const { seller } = row
  if (hits.has('anonymous_sellers')) return `{"feedbackScore":${seller.feedbackScore}}`
  const percentage =
    seller.feedbackPermille === null
      ? ''
      : `"feedbackPercentage":"${Math.floor(seller.feedbackPermille / 10)}.${seller.feedbackPermille % 10}",`
  return `{"username":"${sentName(row.username, seller, hits)}",${percentage}"feedbackScore":${seller.feedbackScore}}`
}

/** The name a request is told: under a fault the id, or (one seller in five) a new name with the old id. */
export function sentName(username: string, seller: Seller, hits: Hits): string {
  if (hits.has('ids_as_usernames')) return seller.userId
  if (hits.has('renamed_sellers') && isRenamed(seller)) return `${username}-renamed`
  return username
}

export function isRenamed(seller: Seller): boolean {
  return hash53(`renamed|${seller.userId}`) % 5 === 0
}

function isoOf(row: Listing): string {
  return new Date(row.createdMs).toISOString()
}
