/** Every declared route: served by app.ts, written down by openapi.ts, tried by the tests that go through all of them. */
import type { Route } from './route.ts'
import { auditRoutes } from './routes/audit.ts'
import { categoryRoutes } from './routes/categories.ts'
import { complianceRoutes } from './routes/compliance.ts'
import { credentialRoutes } from './routes/credentials.ts'
import { estimateRoutes } from './routes/estimates.ts'
import { exportRoutes } from './routes/exports.ts'
import { invitationRoutes } from './routes/invitations.ts'
import { keyRoutes } from './routes/keys.ts'
import { liveRoutes } from './routes/live.ts'
import { meRoutes } from './routes/me.ts'
import { memberRoutes } from './routes/members.ts'
import { operationRoutes } from './routes/operation.ts'
import { orgRoutes } from './routes/orgs.ts'
import { providerRoutes } from './routes/providers.ts'
import { runActRoutes } from './routes/run-acts.ts'
import { runPartRoutes } from './routes/run-parts.ts'
import { runRoutes } from './routes/runs.ts'
import { sellerActRoutes } from './routes/seller-acts.ts'
import { sellerRoutes } from './routes/sellers.ts'
import { settingsRoutes } from './routes/settings.ts'
import { signInRoutes } from './routes/sign-in.ts'

export const allRoutes: readonly Route[] = [
  ...operationRoutes,
  ...signInRoutes,
  ...meRoutes,
  ...orgRoutes,
  ...memberRoutes,
  ...invitationRoutes,
  ...keyRoutes,
  ...settingsRoutes,
  ...categoryRoutes,
  ...providerRoutes,
  ...credentialRoutes,
  ...estimateRoutes,
  ...runRoutes,
  ...runActRoutes,
  ...runPartRoutes,
  ...liveRoutes,
  ...sellerRoutes,
  ...sellerActRoutes,
  ...exportRoutes,
  ...complianceRoutes,
  ...auditRoutes,
]
