// The peer's records: queued in memory, inserted in batches. A failed batch is queued again. The bound counts reserved, queued and
// in-flight records.
import { randomUUID } from "node:crypto"
import { setTimeout } from "node:timers/promises"
import postgres from "postgres"

interface Row {
  readonly id: string
  readonly user: string
  readonly integration: string
  readonly input: string
  readonly version: number
  readonly status: number
  readonly body: string
  readonly requestedAt: number
  readonly repliedAt: number
}

const maxRows = 10_000
const maxBatch = 500
const writers = 5
const flushMs = 50

const column = <K extends keyof Row>(rows: ReadonlyArray<Row>, key: K) => rows.map((row) => row[key])

export class PeerRecords {
  readonly #sql: postgres.Sql
  #queue: Array<Row> = []
  #kept = 0
  #writing = 0

  private constructor(sql: postgres.Sql) {
    this.#sql = sql
    setInterval(() => this.#flush(), flushMs)
  }

  static async open(url: string): Promise<PeerRecords> {
    const sql = postgres(url, { max: writers, onnotice: () => {} })
    await sql`CREATE TABLE IF NOT EXISTS peer_records (record_id uuid PRIMARY KEY, user_id text NOT NULL,
      integration text NOT NULL, input jsonb NOT NULL, config_version bigint NOT NULL, status int NOT NULL,
      body jsonb NOT NULL, requested_at timestamptz NOT NULL, replied_at timestamptz NOT NULL)`
    return new PeerRecords(sql)
  }

  /** Reserves a place; false if the queue is full. */
  reserve(): boolean {
    if (this.#kept >= maxRows) return false
    this.#kept++
    return true
  }

  giveBack(): void {
    this.#kept--
  }

  add(row: Omit<Row, "id">): string {
    const id = randomUUID()
    this.#queue.push({ id, ...row })
    if (this.#queue.length >= maxBatch) this.#flush()
    return id
  }

  /** Writes queued records for at most this long; returns the number left. */
  async close(): Promise<number> {
    for (let n = 0; n < 200 && (this.#queue.length > 0 || this.#writing > 0); n++) {
      this.#flush()
      await setTimeout(20)
    }
    return this.#queue.length
  }

  #flush(): void {
    while (this.#queue.length > 0 && this.#writing < writers) {
      void this.#write(this.#queue.slice(0, maxBatch))
      this.#queue = this.#queue.slice(maxBatch)
    }
  }

  async #write(rows: ReadonlyArray<Row>): Promise<void> {
    this.#writing++
    try {
      await this.#sql`INSERT INTO peer_records SELECT id, user_id, integration, input::jsonb, version, status,
        body::jsonb, to_timestamp(requested / 1000), to_timestamp(replied / 1000)
        FROM unnest(${column(rows, "id")}::uuid[], ${column(rows, "user")}::text[],
          ${column(rows, "integration")}::text[], ${column(rows, "input")}::text[],
          ${column(rows, "version")}::bigint[], ${column(rows, "status")}::int[], ${column(rows, "body")}::text[],
          ${column(rows, "requestedAt")}::float8[], ${column(rows, "repliedAt")}::float8[])
        AS t (id, user_id, integration, input, version, status, body, requested, replied) ON CONFLICT DO NOTHING`
      this.#kept -= rows.length
    } catch (error) {
      console.error("records:", error instanceof Error ? error.message : error)
      // Not immediately: the next flush includes them.
      await setTimeout(1000)
      this.#queue = [...rows, ...this.#queue]
    } finally {
      this.#writing--
    }
  }
}
