// Runs @stripe/sync-engine once, as its command line does, and prints what became of it as one line of JSON:
//     node stripe_engine.cjs FOLDER_WITH_NODE_MODULES '{"databaseUrl", "stripeUrl", "secretKey", "spec", "objects"}'
// Without "objects" it only makes the tables.
const { createRequire } = require('node:module')

const [folder, text] = process.argv.slice(2)
const given = JSON.parse(text)
const load = createRequire(`${folder}/package.json`)
pointStripeAtSandbox(createRequire(load.resolve('@stripe/sync-engine')))
const { StripeSync, runMigrations } = load('@stripe/sync-engine')

// Its command line's own numbers.
const WORKERS = 50
const REQUESTS_PER_SECOND = 25

// Its settings have no address of Stripe, and it asks Stripe for the account before it hands out its client.
function pointStripeAtSandbox(loadOfEngine) {
  const { hostname, port, protocol } = new URL(given.stripeUrl)
  const Stripe = loadOfEngine('stripe')
  class Sandbox extends Stripe {
    constructor(key, config) {
      super(key, { ...config, host: hostname, port, protocol: protocol.slice(0, -1) })
    }
  }
  loadOfEngine.cache[loadOfEngine.resolve('stripe')].exports = Object.assign(Sandbox, Stripe, {
    default: Sandbox,
    Stripe: Sandbox,
  })
}

async function migrate() {
  let failed
  // It tells of errors only to its logger.
  const logger = { info() {}, warn() {}, error: (error) => (failed = error) }
  // Without the path it would fetch Stripe's own description from GitHub.
  await runMigrations({ databaseUrl: given.databaseUrl, openApiSpecPath: given.spec, logger })
  if (failed) throw failed
}

async function backfill() {
  const sync = await StripeSync.create({
    poolConfig: { connectionString: given.databaseUrl, max: 10 },
    stripeSecretKey: given.secretKey,
    backfillRelatedEntities: false,
    logger: { info() {}, warn() {}, error() {}, debug() {} },
  })
  const { errors } = await sync.fullSync(given.objects, true, WORKERS, REQUESTS_PER_SECOND, false, 0)
  await sync.close()
  if (errors.length) throw new Error(errors.map(({ object, message }) => `${object}: ${message}`).join('; '))
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
