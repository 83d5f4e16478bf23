"""What made-up objects are called, cost and are: odd on purpose, since a mirror has to survive it."""

GIVEN = (
    "Ada",
    "Grace",
    "José",
    "Zoë",
    "Łukasz",
    "Nguyễn",
    "美咲",
    "Алексей",
    "יעל",
    "فاطمة",
    "Søren",
    "Ana",
    "O'Neil",
)
FAMILY = (
    "Lovelace",
    "García",
    "Müller",
    "山田",
    "Ωmega",
    "לוי",
    "الزهراء",
    "Smith-Jones",
    "Nowak",
    "🚀 Labs",
    "Ng",
    "Đặng",
)
CITIES = (("Berlin", "DE"), ("São Paulo", "BR"), ("東京", "JP"), ("Kraków", "PL"), ("Austin", "US"), ("تل أبيب", "IL"))
PRODUCTS = (
    "Starter",
    "Team",
    "Pro ✨",
    "Enterprise",
    "Data Add-on",
    "Café Plan",
    "プレミアム",
    "תוכנית עסקית",
    "Support 24/7",
)
BRANDS = ("visa", "mastercard", "amex", "discover")

# Zero decimals (jpy, vnd), three (kwd), and so many of them (idr, vnd) that sums pass 2^31.
MONEY: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("usd", (900, 1900, 4900, 9900, 29900, 120000)),
    ("usd", (500, 1500, 2500, 99900)),
    ("usd", (1000, 2000, 3000)),
    ("usd", (700, 7700)),
    ("eur", (800, 1900, 9900)),
    ("gbp", (700, 1700)),
    ("jpy", (980, 12000, 2_400_000_000)),
    ("kwd", (1250, 45_500)),
    ("idr", (15_000_000, 4_900_000_000)),
    ("vnd", (250_000, 3_000_000_000)),
)
SUBSCRIPTION_STATUSES = (
    ("active",) * 62
    + ("canceled",) * 10
    + ("trialing",) * 7
    + ("past_due",) * 6
    + ("unpaid",) * 4
    + ("paused",) * 4
    + ("incomplete",) * 3
    + ("incomplete_expired",) * 4
)
INVOICE_STATUSES = ("paid",) * 78 + ("open",) * 8 + ("void",) * 5 + ("uncollectible",) * 4 + ("draft",) * 5
