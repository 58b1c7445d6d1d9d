/** The icons, as paths on a grid of 16 by 16. */
const shapes = {
  check: 'M3 8.5 6.5 12 13 4.5',
  cross: 'M4 4l8 8M12 4l-8 8',
  clock: 'M8 4.5V8l2.5 1.5M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z',
  retry: 'M13 3v3.5H9.5M12.7 6.5A5.2 5.2 0 1 0 13.2 9',
  skip: 'M3.5 8h9M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z',
  warn: 'M8 6v3.2M8 11.4v.1M7.1 2.9 1.8 12a1 1 0 0 0 .9 1.5h10.6a1 1 0 0 0 .9-1.5L8.9 2.9a1 1 0 0 0-1.8 0Z',
  pause: 'M5.5 4v8M10.5 4v8',
  dot: 'M8 7.5v1M6.5 8a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0',
  copy: 'M6 5.5h7v8H6zM3 10.5v-8h7',
  plus: 'M8 3v10M3 8h10',
  play: 'M5 3.5v9l7-4.5z',
  key: 'M9.5 9.5a3.5 3.5 0 1 0-2.9-1.6L2 12.5V14h2.5v-1.5H6V11l1.2-1.2A3.5 3.5 0 0 0 9.5 9.5ZM10.5 5.5v.1',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
  overview: 'M2.5 8.5 8 3l5.5 5.5M4 7.5V13h8V7.5',
  webhook: 'M2.5 8h7M7 4.5 10.5 8 7 11.5M13.5 3v10',
  event: 'M9 2 3.5 9H8l-1 5 5.5-7H8z',
  deliveries: 'M2 4.5h7M2 8h5M2 11.5h7M9.5 11.5 11.5 13.5 15 9',
  problem: 'M8 5v3.5M8 10.8v.1M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z',
  audit: 'M4 2.5h8v11H4zM6 5.5h4M6 8h4M6 10.5h2.5',
  tenant: 'M3 13.5v-11h6v11M9 6h4v7.5M2 13.5h12M5.5 5h1M5.5 7.5h1M5.5 10h1',
  gauge: 'M2.5 11a5.8 5.8 0 1 1 11 0M8 10.5 10.5 6',
  live: 'M2.5 8h2.2L6.5 3.5l2.6 9L11 8h2.5',
  search: 'M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.3 10.3 13.5 13.5',
} as const
export type IconName = keyof typeof shapes

/** Shows an icon, which says nothing by itself: a word stands beside it. */
export const Icon = ({ name }: { name: IconName }) => (
  <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
    <path d={shapes[name]} fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" />
  </svg>
)
