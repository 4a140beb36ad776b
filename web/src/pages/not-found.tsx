import { Link } from '../core/router.tsx';
import { PageHead } from '../ui/parts.tsx';

export function NotFound() {
  return (
    <div class="page">
      <PageHead title="There is no such page" />
      <p>
        <Link to="/resources">Go to the resources</Link>
      </p>
    </div>
  );
}
