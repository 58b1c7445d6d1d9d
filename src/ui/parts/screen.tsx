import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { params, path, setParams, urlOf } from '../lib/router.ts'
import { curlOf } from '../lib/shell-text.ts'
import { Breakable, Code } from './text.tsx'

interface ScreenProps {
  readonly title: string
  /** The way back: the screen above this one. */
  readonly above?: { readonly title: string; readonly screen: string }
  readonly actions?: ComponentChildren
  readonly children: ComponentChildren
}
/** A screen with its title. The title gets the focus when a person comes from another screen, so that a screen reader says it. */
export function Screen({ title, above, actions, children }: ScreenProps) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${title} · Kolbak`
  }, [title])
  useEffect(() => {
    if (document.activeElement === document.body || document.activeElement?.closest('nav, main') !== null) heading.current?.focus()
  }, [path.value])
  return (
    <>
      <header class="screen">
        <div>
          {above !== undefined && (
            <a class="above" href={urlOf(above.screen)}>
              {above.title}
            </a>
          )}
          <h1 ref={heading} tabIndex={-1}>
            <Breakable text={title} />
          </h1>
        </div>
        {actions !== undefined && <div class="row">{actions}</div>}
      </header>
      {children}
    </>
  )
}

/** Links between the parts of a screen. The chosen part is in the URL. */
export function Tabs({ tabs, chosen, screen }: { tabs: Readonly<Record<string, string>>; chosen: string; screen: string }) {
  return (
    <nav class="tabs" aria-label="Parts of this screen">
      {Object.entries(tabs).map(([tab, title]) => (
        <a key={tab} href={urlOf(`${screen}?tab=${tab}`)} aria-current={tab === chosen ? 'page' : undefined}>
          {title}
        </a>
      ))}
    </nav>
  )
}

/** The links to the next page of a list and back to its beginning. */
export function Pager({ next }: { next: string | null | undefined }) {
  const isFirst = !params.value.has('cursor')
  if (isFirst && (next === null || next === undefined)) return null
  return (
    <div class="row pager">
      <button type="button" disabled={isFirst} onClick={() => setParams({ cursor: null }, { replace: false })}>
        Newest
      </button>
      <button
        type="button"
        disabled={next === null || next === undefined}
        onClick={() => setParams({ cursor: next ?? null }, { replace: false })}
      >
        Older
      </button>
    </div>
  )
}

/** The request to the API that shows or does the same as the screen or the dialog. */
export const Curl = ({
  method = 'GET',
  request,
  body,
  title = 'The same by the API',
}: {
  method?: string
  request: string
  body?: unknown
  title?: string
}) => (
  <details class="curl">
    <summary>{title}</summary>
    <Code text={curlOf(method, request, body)} label="the curl command" />
  </details>
)

/** Pairs of a term and its value. */
export const Facts = ({ facts }: { facts: readonly (readonly [string, ComponentChildren] | null)[] }) => (
  <dl class="facts">
    {facts.map(
      (fact) =>
        fact !== null && (
          <div key={fact[0]}>
            <dt>{fact[0]}</dt>
            <dd>{fact[1]}</dd>
          </div>
        ),
    )}
  </dl>
)
