import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

/** One bar: its parts from the bottom up, each with the class that colours it. */
export interface Bar {
  readonly label: string;
  readonly parts: readonly { readonly className: string; readonly value: number; readonly name: string }[];
}

/** Pixels before the room that there is has been measured, and never less. */
const [FIRST_WIDTH, LEAST_WIDTH] = [560, 200];
/** Pixels that a label takes below a bar. */
const LABEL_WIDTH = 70;
const HEIGHT = 200;
const LEFT = 34;
const BOTTOM = 22;
/** Room for the name of a limit, above the bars. */
const TOP = 18;

/** The pixels that an element is wide: what is drawn in them keeps the size of its letters on every screen. */
function useWidth(ref: RefObject<Element | null>): number {
  const [width, setWidth] = useState(FIRST_WIDTH);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      if (entry !== undefined) setWidth(Math.max(LEAST_WIDTH, Math.round(entry.contentRect.width)));
    });
    observer.observe(ref.current!);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** A chart of bars as SVG; what it shows is also there as a table for who does not see it. */
export function BarChart(props: { title: string; bars: readonly Bar[]; limitAfter?: number; limitLabel?: string }) {
  const { title, bars, limitAfter, limitLabel } = props;
  const ref = useRef<SVGSVGElement>(null);
  const width = useWidth(ref);
  const totals = bars.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0));
  const most = niceCeiling(Math.max(1, ...totals));
  const step = (width - LEFT) / Math.max(1, bars.length);
  const height = HEIGHT - BOTTOM - TOP;
  const y = (value: number) => TOP + height * (1 - value / most);
  const every = Math.ceil(bars.length / Math.max(1, Math.floor(width / LABEL_WIDTH)));
  const ticks = [0, most / 2, most].filter((tick) => Number.isInteger(tick));
  return (
    <figure>
      <svg ref={ref} class="chart" viewBox={`0 0 ${width} ${HEIGHT}`} aria-hidden="true">
        {ticks.map((tick) => (
          <g key={tick}>
            <line class="grid" x1={LEFT} x2={width} y1={y(tick)} y2={y(tick)} />
            <text x={LEFT - 6} y={y(tick) + 4} text-anchor="end">
              {tick}
            </text>
          </g>
        ))}
        {bars.map((bar, index) => {
          let below = 0;
          const x = LEFT + index * step;
          return (
            <g key={bar.label}>
              {bar.parts.map(({ className, value, name }) => {
                const from = below;
                below += value;
                return value === 0 ? null : (
                  <rect
                    key={name}
                    class={className}
                    x={x + Math.min(3, step * 0.12)}
                    width={Math.max(1, step - 2 * Math.min(3, step * 0.12))}
                    y={y(below)}
                    height={y(from) - y(below)}
                  />
                );
              })}
              {index % every === 0 && (
                <text x={x + step / 2} y={HEIGHT - 6} text-anchor="middle">
                  {bar.label}
                </text>
              )}
            </g>
          );
        })}
        {limitAfter !== undefined && (
          <g>
            <line
              class="axis"
              x1={LEFT + limitAfter * step}
              x2={LEFT + limitAfter * step}
              y1={TOP}
              y2={HEIGHT - BOTTOM}
            />
            <text x={LEFT + limitAfter * step} y={TOP - 6} text-anchor="middle">
              {limitLabel}
            </text>
          </g>
        )}
        <line class="axis" x1={LEFT} x2={width} y1={y(0)} y2={y(0)} />
      </svg>
      <figcaption class="visually-hidden">
        <table>
          <caption>{title}</caption>
          <tbody>
            {bars.map((bar) => (
              <tr key={bar.label}>
                <th scope="row">{bar.label}</th>
                {bar.parts
                  .filter(({ value }) => value > 0)
                  .map(({ name, value }) => (
                    <td key={name}>
                      {name}: {value}
                    </td>
                  ))}
              </tr>
            ))}
          </tbody>
        </table>
      </figcaption>
    </figure>
  );
}

/** What the colours stand for. */
export function Legend({ items }: { items: readonly (readonly [className: string, name: string])[] }) {
  return (
    <ul class="legend" aria-hidden="true">
      {items.map(([className, name]) => (
        <li key={name}>
          <span class={className} />
          {name}
        </li>
      ))}
    </ul>
  );
}

/** The next of 1, 2, 4, 10, 20, 40 … */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 4, 10].find((one) => one * power >= value) ?? 10;
  return Math.max(2, step * power);
}
