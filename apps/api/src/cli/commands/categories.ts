/** gleaner categories: search the tree of best-seller lists. */
import type { Command } from 'commander'
import { loadCategories } from '../../runs/categories.ts'
import { type CategoryChoice, searchCategories } from '../../runs/find-category.ts'
import { addCommand } from '../add-command.ts'
import { count, readWhole } from '../format.ts'
import { actLine } from '../join-run.ts'
import { table } from '../table.ts'

/** Adds the command. */
export function addCategories(program: Command): void {
  const command = program
    .command('categories')
    .description('search the tree of Amazon best-seller categories')
    .argument('[words...]', 'words of a name; all departments when left out')
    .option('--all', 'every category')
    .option('--limit <n>', 'at most so many', '30')
    .addHelpText('after', '\nExamples:\n  gleaner categories coffee\n  gleaner categories kitchen towels --json')
  addCommand(command, async (context, [words, given]) => {
    const options = given as { all?: boolean; limit: string }
    const text = (words as string[]).join(' ')
    const limit = options.all ? Number.MAX_SAFE_INTEGER : readWhole(options.limit, '--limit', 1, 100_000)
    const tree = await loadCategories()
    const found =
      text === '' && !options.all
        ? searchCategories(tree, '', tree.rows.length).filter(({ category }) => category.level === 0)
        : searchCategories(tree, text, limit)
    if (context.json) {
      return context.sayJson(
        found.map(({ category, path }) => ({ key: category.key, path, physical: category.physical })),
      )
    }
    if (found.length === 0) {
      context.say(`Nothing in the tree is like "${text}".`)
      return 3
    }
    context.say(
      table<CategoryChoice>(
        context,
        [
          { head: 'Key', cell: ({ category }) => category.key },
          { head: 'Category', gives: 16, cell: ({ path }) => path },
          { head: '', cell: ({ category }) => (category.physical ? '' : context.paint.warn('no physical goods')) },
        ],
        found,
      ),
    )
    const first = found.find(({ category }) => category.physical)
    context.note(
      context.paint.dim(
        `\n${count(found.length)} of ${count(tree.rows.length)} categories. Collect from one by its key:`,
      ),
    )
    if (first) context.note(actLine(context, `gleaner collect ${first.category.key} --cap 5`))
    return 0
  })
}
