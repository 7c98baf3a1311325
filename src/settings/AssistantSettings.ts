// The assistant: generations, analyses, auto-assign.
import { count, setting, wholeNumber } from "./Setting.ts"

export const assistantSettings = {
  MAX_GENERATIONS: setting(
    count,
    "100",
    "generations at once, an eighth of them by one user; beyond it `Overloaded`",
    wholeNumber
  ),
  MAX_ANALYSES: setting(
    count,
    "100",
    "drafts analysed at once, an eighth of them by one user; beyond it `Overloaded`",
    wholeNumber
  ),
  ASSIGN_QUEUE: setting(
    count,
    "1000",
    "messages waiting to be assigned to a thread; beyond it they stay unassigned",
    wholeNumber
  ),
  ASSIGN_RATE: setting(
    count,
    "60",
    "messages assigned to threads per minute and room; beyond it they stay unassigned",
    wholeNumber
  )
}
