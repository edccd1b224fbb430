/**
 * Word lists of the generated marketplace, written for it. Brand, line and seller names are made of syllables, so that no
 * real brand or seller is named.
 */
import { hash53 } from '../random.ts'

export const ADJECTIVES =
  'Compact Portable Heavy-Duty Slim Foldable Adjustable Wireless Premium Classic Rustic Modern Lightweight Reusable Insulated Waterproof Cordless Extra-Large Mini Deluxe Ergonomic Stackable Quiet Rechargeable Soft Durable Professional Everyday Vintage Magnetic Breathable'.split(
    ' ',
  )

export const MATERIALS =
  'Stainless-Steel Bamboo Silicone Cotton Ceramic Aluminum Nylon Acrylic Leather Glass Oak Linen Microfiber Rubber Carbon Walnut Polyester Titanium Felt Canvas'.split(
    ' ',
  )

export const COLORS =
  'Black White Navy Teal Charcoal Ivory Crimson Olive Lavender Copper Slate Amber Mint Coral Beige Burgundy Turquoise Graphite'.split(
    ' ',
  )

export const FEATURES = [
  'Easy to Clean',
  'BPA-Free',
  'Dishwasher Safe',
  'Non-Slip Base',
  'Fast Charging',
  'Long Battery Life',
  'Leak-Proof Lid',
  'LED Display',
  'Auto Shut-Off',
  'Space Saving Design',
  'Gift Box Included',
  'Scratch Resistant',
  'Quick Release Handle',
  'Touch Controls',
  'Hypoallergenic Filling',
  'Machine Washable',
  'Tool-Free Assembly',
  'Low Noise Motor',
  'Temperature Control',
  'Anti-Fog Coating',
  'Reinforced Stitching',
  'Universal Fit',
  'Double Wall Vacuum',
  'Child Lock',
  'Energy Saving Mode',
  'Odor Resistant',
  'Water Repellent Finish',
  'Removable Tray',
  'Built-In Timer',
  '360 Degree Rotation',
] as const

export const USES = [
  'for Home Office',
  'for Travel',
  'for Small Kitchens',
  'for Camping',
  'for Dorm Rooms',
  'for Garage',
  'for Seniors',
  'for Kids',
  'for Pets',
  'for Workshop',
  'for Garden',
  'for Classroom',
] as const

export const SIZES = [
  '2 Pack',
  '4 Pack',
  '12 Count',
  '1.7 Liter',
  '20 oz',
  '32 oz',
  '10 Inch',
  '24 x 36 Inch',
  '6 ft',
  '500 ml',
  'Queen Size',
  'Set of 3',
  'One Size',
  '5 lb',
] as const

/** What a category without a telling name of its own sells. */
export const NOUNS =
  'Organizer Holder Lamp Bottle Charger Cable Mat Rack Brush Basket Speaker Fan Scale Tray Cushion Backpack Timer Clock Blanket Opener Grinder Stand Mount Case Cover Filter Kit Tool Sensor Planter Feeder Puzzle Notebook Marker Glove Towel Mirror Hook Heater Humidifier'.split(
    ' ',
  )

/** Words any listing may carry whatever it sells: they tell nothing about the product. */
export const FILLER_WORDS =
  'new sealed genuine authentic fast ship shipping free usa us seller brand box in lot fresh stock oem nib great deal'.split(
    ' ',
  )
export const FILLERS: ReadonlySet<string> = new Set(FILLER_WORDS)

/** Words too common to tell a product from another. */
export const STOP_WORDS: ReadonlySet<string> = new Set(
  'a an and the for with of by to in on at or from your you is it as x w'.split(' '),
)

/** What sellers who rewrite a title put instead of a word. */
export const SYNONYMS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    portable: 'travel',
    wireless: 'bluetooth',
    cordless: 'battery',
    compact: 'small',
    foldable: 'folding',
    lightweight: 'light',
    insulated: 'thermal',
    heavy: 'strong',
    rechargeable: 'usb',
    organizer: 'storage',
    holder: 'stand',
    lamp: 'light',
    bottle: 'flask',
    charger: 'adapter',
    cable: 'cord',
    mat: 'pad',
    case: 'cover',
    blanket: 'throw',
    backpack: 'bag',
    grinder: 'mill',
    professional: 'pro',
    pack: 'pk',
    inch: 'in',
    count: 'ct',
    charcoal: 'gray',
    crimson: 'red',
    navy: 'blue',
  }),
)

const ONSETS = 'b d f g h j k l m n p r s t v z br dr kr tr pl vl sk st qu'.split(' ')
const VOWELS = 'a e i o u ei ia oa'.split(' ')
const CODAS = ['', '', 'n', 'r', 'x', 'k', 'm', 'sh', 'ton', 'ra']

/** An invented word of `syllables` syllables, decided by `text`; lower case. */
export function inventedWord(text: string, syllables: number): string {
  let value = hash53(text)
  let word = ''
  for (let i = 0; i < syllables; i++) {
    word += ONSETS[value % ONSETS.length]
    value = Math.floor(value / ONSETS.length)
    word += VOWELS[value % VOWELS.length]
    value = Math.floor(value / VOWELS.length)
  }
  return word + CODAS[value % CODAS.length]
}

export function capitalised(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}

/** Words that half the products of the world carry. */
export const COMMON_WORDS: ReadonlySet<string> = new Set(
  [...ADJECTIVES, ...MATERIALS, ...COLORS, ...FEATURES, ...USES, ...SIZES].flatMap((words) =>
    words.toLowerCase().split(' '),
  ),
)

/** What is added to a category's own noun: Dog Bed Holder. */
export const NOUN_ENDINGS = 'Set Kit Organizer Holder Stand Case Bag Tool Tray Cleaner'.split(' ')

/** The words of a text as searches compare them: lower case, letters and digits, accents removed. */
export function tokensOf(text: string): string[] {
  return (
    text
      .normalize('NFKD')
      .replace(/[\u0300-\u036f]/g, '')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  )
}
