/**
 * The score of a seller, from what it was matched with. Each best seller it was matched with weighs 0.4, plus 0.4 times the
 * likeness of the best title, plus 0.2 when the price rule held for one of its listings: so many noisy matches weigh less
 * than few good ones. With W the sum of the weights, score = 100 x W / (W + 2): 33 for one perfect match, 60 for three, 83
 * for ten, never quite 100. Weights are thousandths, as `seller_list.match_weight` keeps them.
 */

/** Weight at which the score is 50. */
const HALF_WEIGHT = 2000
const MATCH_WEIGHT = 400
const LIKENESS_WEIGHT = 4
const RULE_WEIGHT = 200
/** The most and the least one match can weigh: what a filter on one says about the other. */
export const MATCH_WEIGHT_MOST = MATCH_WEIGHT + 100 * LIKENESS_WEIGHT + RULE_WEIGHT
export const MATCH_WEIGHT_LEAST = MATCH_WEIGHT

/** What each part brings to the score; they add up to it. */
export type ScoreParts = Readonly<{ score: number; matches: number; titleLikeness: number; priceRule: number }>

export type MatchSums = Readonly<{ matched: number; likenessPercentSum: number; priceRuleCount: number }>

/** The score for a weight, a whole number from 0 to 100. */
export function scoreOf(weight: number): number {
  return Math.round((100 * weight) / (weight + HALF_WEIGHT))
}

/** The least weight whose score is at least `score`; for 100 one that hardly any seller reaches. */
export function leastWeight(score: number): number {
  if (score <= 0) return 0
  let weight = Math.max(0, Math.floor((HALF_WEIGHT * (score - 0.5)) / (100.5 - score)) - 1)
  while (scoreOf(weight) < score) weight++
  return weight
}

/** The score in its parts: each what its share of the weight is of the score, by largest remainder. */
export function scoreParts({ matched, likenessPercentSum, priceRuleCount }: MatchSums): ScoreParts {
  const weights = [matched * MATCH_WEIGHT, likenessPercentSum * LIKENESS_WEIGHT, priceRuleCount * RULE_WEIGHT] as const
  const weight = weights[0] + weights[1] + weights[2]
  const score = scoreOf(weight)
  if (weight === 0) return { score: 0, matches: 0, titleLikeness: 0, priceRule: 0 }
  const exact = weights.map((one) => (score * one) / weight)
  const parts = exact.map(Math.floor)
  const byRest = [0, 1, 2].sort((a, b) => ((exact[b] ?? 0) % 1) - ((exact[a] ?? 0) % 1))
  for (const at of byRest) {
    if ((parts[0] ?? 0) + (parts[1] ?? 0) + (parts[2] ?? 0) < score) parts[at] = (parts[at] ?? 0) + 1
  }
  const [matches = 0, titleLikeness = 0, priceRule = 0] = parts
  return { score, matches, titleLikeness, priceRule }
}
