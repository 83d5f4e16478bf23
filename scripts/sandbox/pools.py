"""Names, prices and other facts of made-up objects: a plausible business with texts and amounts as odd as real ones."""

from dataclasses import dataclass

# A name as written, and as it appears in an e-mail address.
GIVEN = (
    ("Ada", "ada"),
    ("Grace", "grace"),
    ("José", "jose"),
    ("Zoë", "zoe"),
    ("Łukasz", "lukasz"),
    ("Nguyễn", "nguyen"),
    ("美咲", "misaki"),
    ("Алексей", "alexey"),
    ("יעל", "yael"),
    ("فاطمة", "fatima"),
    ("Søren", "soren"),
    ("Ana", "ana"),
    ("O'Neil", "oneil"),
)
FAMILY = (
    ("Lovelace", "lovelace"),
    ("García", "garcia"),
    ("Müller", "mueller"),
    ("山田", "yamada"),
    ("Ωmega", "omega"),
    ("לוי", "levi"),
    ("الزهراء", "alzahra"),
    ("Smith-Jones", "smith-jones"),
    ("Nowak", "nowak"),
    ("🚀 Labs", "labs"),
    ("Ng", "ng"),
    ("Đặng", "dang"),
)
DOMAINS = ("northwind.example", "brightside.example", "kawa.example", "maplelane.example", "studio-nord.example")
CITIES = (("Berlin", "DE"), ("São Paulo", "BR"), ("東京", "JP"), ("Kraków", "PL"), ("Austin", "US"), ("تل أبيب", "IL"))
BRANDS = ("visa", "mastercard", "amex", "discover")


@dataclass(frozen=True, slots=True)
class Plan:
    """A product and its monthly price, in the smallest unit of its first currency."""

    product: str
    description: str | None
    currency: str
    amount: int


# Includes currencies with zero decimals (jpy, vnd) and three (kwd). The prices of the last two exceed 2^31.
PLANS = (
    Plan("Starter", "For one person.", "usd", 900),
    Plan("Team", "Everything a small team needs.", "usd", 2900),
    Plan("Pro ✨", None, "usd", 7900),
    Plan("Business", "With single sign-on.", "usd", 19_900),
    Plan("Enterprise", "With a contract and a person to call.", "usd", 49_900),
    Plan("Café Plan", "Für wachsende Teams 🎉", "eur", 1900),
    Plan("プレミアム", None, "jpy", 12_000),
    Plan("Data Add-on", "100 GB more.", "usd", 1500),
    Plan("Support 24/7", None, "usd", 9900),
    Plan("תוכנית עסקית", None, "eur", 4900),
    Plan("Storage, Kuwait region", None, "kwd", 12_500),
    Plan("Extra seat", None, "usd", 1200),
    Plan("Audit log", "Kept for a year.", "gbp", 2900),
    Plan("Rack lease, Jakarta", "Half a rack.", "idr", 4_900_000_000),
    Plan("Rack lease, Hanoi", None, "vnd", 3_000_000_000),
)
# One-time products, paid without an invoice.
ONCE = (
    Plan("Training day", None, "usd", 120_000),
    Plan("Import of old data", None, "usd", 35_000),
    Plan("Credits", None, "eur", 5000),
    Plan("Stickers", None, "gbp", 1200),
    Plan("出張サポート", None, "jpy", 48_000),
)
# Further prices, in hundredths of the first one. Currencies with other units have their own.
OTHER_CURRENCIES = (("eur", 95), ("gbp", 80), ("usd", 100))
# How often customers use each currency.
CURRENCIES = ("usd",) * 62 + ("eur",) * 20 + ("gbp",) * 8 + ("jpy",) * 6 + ("kwd",) * 2 + ("idr",) + ("vnd",)
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
