// Runs @supabase/stripe-sync-engine once, as its README says, and prints what became of it as one line of JSON:
//     node supabase.cjs FOLDER_WITH_NODE_MODULES '{"databaseUrl", "stripeUrl", "secretKey", "objects", "sideBySide"}'
// Without "objects" it only makes the tables.
const { createRequire } = require('node:module')

const [folder, text] = process.argv.slice(2)
const given = JSON.parse(text)
const load = createRequire(`${folder}/package.json`)
const { StripeSync, runMigrations } = load('@supabase/stripe-sync-engine')
const stripe = load('stripe')
const Stripe = stripe.default ?? stripe

async function migrate() {
  let failed
  // It tells of errors only to its logger.
  const logger = { info() {}, error: (error) => (failed = error) }
  await runMigrations({ databaseUrl: given.databaseUrl, schema: 'stripe', logger })
  if (failed) throw failed
}

function newSync() {
  const sync = new StripeSync({
    poolConfig: { connectionString: given.databaseUrl, max: 10 },
    stripeSecretKey: given.secretKey,
    stripeWebhookSecret: 'whsec_unused',
    stripeApiVersion: Stripe.API_VERSION,
    autoExpandLists: true,
    // Its server's default. Side by side it would fetch one by one what the other types bring along.
    backfillRelatedEntities: !given.sideBySide,
  })
  // Its settings have no address of Stripe, but its client is a public property.
  const { hostname, port, protocol } = new URL(given.stripeUrl)
  sync.stripe = new Stripe(given.secretKey, { host: hostname, port, protocol: protocol.slice(0, -1) })
  return sync
}

async function backfill() {
  const sync = newSync()
  if (given.sideBySide) {
    await Promise.all(given.objects.map((object) => sync.syncBackfill({ object })))
  } else {
    for (const object of given.objects) await sync.syncBackfill({ object })
  }
  await sync.close()
}

async function main() {
  const started = performance.now()
  const before = process.cpuUsage()
  let error = null
  try {
    await (given.objects ? backfill() : migrate())
  } catch (caught) {
    error = String(caught?.message ?? caught)
  }
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(before)
  const peakMb = process.resourceUsage().maxRSS / 1024
  console.log(JSON.stringify({ error, seconds, cpuSeconds: (user + system) / 1e6, peakMb }))
  process.exit(0)
}

main()
