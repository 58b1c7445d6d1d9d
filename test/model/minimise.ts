import type { Step } from './plan.ts'
import { type Play, play } from './play.ts'

/** Removes the steps of a plan that are not needed to break the same invariant. Returns the remaining plan. */
export async function minimise(run: Play & { readonly plan: readonly Step[] }, invariant: string): Promise<Step[]> {
  const breaks = async (plan: readonly Step[]) =>
    (await play({ ...run, plan, isTracing: false })).violations.some((violation) => violation.invariant === invariant)
  let plan = [...run.plan]
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false
    for (let i = plan.length - 1; i >= 0; i--) {
      const less = plan.toSpliced(i, 1)
      if (!(await breaks(less))) continue
      plan = less
      isSmaller = true
    }
  }
  return plan
}
