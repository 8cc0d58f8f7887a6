-- Customer text stands only in columns of sealed bytes; ids, numbers, codes and times are clear. Narrow rows lie in the
-- order of their key; wide ones (200 bytes and more, on SQLite) would make its tree deep, so they lie beside it.

-- display_name, colour and purpose: what the hosted link page shows; null for the defaults.
CREATE TABLE business (
    id           {bytes} NOT NULL,
    name         TEXT    NOT NULL,
    display_name TEXT,
    colour       TEXT,
    purpose      TEXT,
    created_at   {int}   NOT NULL,
    CONSTRAINT business_key PRIMARY KEY (id)
) {in_key_order};

-- One per owner of sealed columns. Deleting the row erases all that it sealed.
CREATE TABLE data_key (
    owner      {bytes} NOT NULL,
    business   {bytes},
    master_key TEXT    NOT NULL,
    wrapped    {bytes} NOT NULL,
    CONSTRAINT data_key_key PRIMARY KEY (owner)
) {in_key_order};

CREATE TABLE api_key (
    id          {bytes} NOT NULL,
    business    {bytes} NOT NULL,
    name        TEXT    NOT NULL,
    scopes      TEXT    NOT NULL,
    secret_hash {bytes} NOT NULL,
    created_at  {int}   NOT NULL,
    revoked_at  {int},
    CONSTRAINT api_key_key PRIMARY KEY (id),
    CONSTRAINT api_key_business FOREIGN KEY (business) REFERENCES business (id)
) {in_key_order};
CREATE INDEX api_key_of_business ON api_key (business, id);

-- `business` is null for the operator's own.
CREATE TABLE registration (
    id          {bytes} NOT NULL,
    business    {bytes},
    institution TEXT    NOT NULL,
    version     {int}   NOT NULL,
    sealed      {bytes} NOT NULL,
    created_at  {int}   NOT NULL,
    CONSTRAINT registration_key PRIMARY KEY (id),
    CONSTRAINT registration_business FOREIGN KEY (business) REFERENCES business (id)
) {table};
CREATE UNIQUE INDEX registration_of_business ON registration (business, institution) WHERE business IS NOT NULL;
CREATE UNIQUE INDEX registration_of_operator ON registration (institution) WHERE business IS NULL;

-- What is known of an institution beyond its profile. Every institution with connections has a row. breaker: whether it
-- is left alone because it fails for many, since when and until when, how many more faults than answers there were, how
-- often it was opened since it was closed, and the connection that met the last fault.
CREATE TABLE institution (
    id                    TEXT NOT NULL,
    fingerprint           TEXT,
    approved_at           {int},
    paused_until          {int},
    pause_reason          TEXT,
    rejections_void_until {int},
    breaker               TEXT  NOT NULL DEFAULT 'closed',
    breaker_since         {int},
    breaker_held_since    {int},
    breaker_until         {int},
    breaker_faults        {int} NOT NULL DEFAULT 0,
    breaker_opened        {int} NOT NULL DEFAULT 0,
    breaker_last          {bytes},
    CONSTRAINT institution_key PRIMARY KEY (id),
    CONSTRAINT institution_breaker CHECK (breaker IN ('closed', 'open', 'half_open'))
) {table};

CREATE TABLE connector_quarantine (
    digest         TEXT  NOT NULL,
    reason         TEXT  NOT NULL,
    quarantined_at {int} NOT NULL,
    CONSTRAINT connector_quarantine_key PRIMARY KEY (digest)
) {table};

-- attempt: the authorisation that is the connector's turn now, due at attempt_due_at. first_rejected_at,
-- last_rejected_at: when the bank refused what the connection holds.
CREATE TABLE connection (
    id                  {bytes} NOT NULL,
    business            {bytes} NOT NULL,
    institution         TEXT    NOT NULL,
    phase               {int}   NOT NULL,
    customer_ref        {bytes},
    customer_ref_index  {bytes},
    state               TEXT    NOT NULL,
    reason              TEXT,
    session_valid_until {int},
    session_open        {bool}  NOT NULL,
    session_state       {bytes},
    accounts_listed     {bool}  NOT NULL,
    all_accounts        {bool}  NOT NULL,
    first_rejected_at   {int},
    last_rejected_at    {int},
    attempt             {bytes},
    attempt_due_at      {int},
    created_at          {int}   NOT NULL,
    deleted_at          {int},
    erased_at           {int},
    CONSTRAINT connection_key PRIMARY KEY (id),
    CONSTRAINT connection_business FOREIGN KEY (business) REFERENCES business (id),
    CONSTRAINT connection_state CHECK (state IN ('linking', 'active', 'paused', 'reauthorisation_required', 'closing', 'deleted'))
) {table};
CREATE INDEX connection_of_business ON connection (business, id);
CREATE INDEX connection_of_customer ON connection (business, customer_ref_index, id) WHERE customer_ref_index IS NOT NULL;
CREATE INDEX connection_rejected ON connection (institution, last_rejected_at) WHERE last_rejected_at IS NOT NULL;
CREATE INDEX connection_linking ON connection (created_at) WHERE state = 'linking';
CREATE INDEX connection_to_erase ON connection (id) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;

-- The row is the job: due_at is schedule, retry time and visibility timeout; token fences. closing_at:
-- since when the job is to end the consent at the bank; failures counts the tries then.
-- interval_minutes: null for the institution's own. reason: why the last run came to nothing for the whole connection.
-- lane: what it is due for. What is not of the ordinary lane queues by business, so that none stands in another's way.
CREATE TABLE schedule (
    institution      TEXT    NOT NULL,
    phase            {int}   NOT NULL,
    connection       {bytes} NOT NULL,
    business         {bytes} NOT NULL,
    lane             TEXT    NOT NULL,
    due_at           {int}   NOT NULL,
    token            {int}   NOT NULL,
    slot_at          {int}   NOT NULL,
    claimed_at       {int},
    failures         {int}   NOT NULL,
    reason           TEXT,
    active           {bool}  NOT NULL,
    interval_minutes {int},
    closing_at       {int},
    CONSTRAINT schedule_key PRIMARY KEY (institution, phase, connection),
    CONSTRAINT schedule_lane CHECK (lane IN ('ordinary', 'wanted', 'first', 'history'))
) {in_key_order};
CREATE INDEX schedule_due ON schedule (institution, due_at) WHERE active AND lane = 'ordinary';
CREATE INDEX schedule_queued ON schedule (institution, lane, business, due_at) WHERE active AND lane <> 'ordinary';
CREATE INDEX schedule_in_hand ON schedule (lane, business, due_at) WHERE claimed_at IS NOT NULL AND lane <> 'ordinary';
CREATE INDEX schedule_closing ON schedule (closing_at) WHERE closing_at IS NOT NULL;

-- Logins of one customer that an institution refused in a row, or may have: each is counted before it leaves. series: a
-- new one after each time that the customer was let in. customer: the customer_ref_index, or, of a connection
-- that has none, its id. A row stays when the customer's connections are erased, since the bank goes on counting, and is
-- swept by age. Erased all the same is who it was: the index is a hash under the business's data key, which the database
-- holds only wrapped, of a name that stands nowhere any more. Only who knows the name already can ask for its row.
CREATE TABLE rejection (
    business    {bytes} NOT NULL,
    institution TEXT    NOT NULL,
    customer    {bytes} NOT NULL,
    in_a_row    {int}   NOT NULL,
    series      {bytes} NOT NULL,
    last_at     {int}   NOT NULL,
    CONSTRAINT rejection_key PRIMARY KEY (business, institution, customer)
) {table};
CREATE INDEX rejection_last ON rejection (last_at);

-- Banks that let a customer have one session at a time: the connection whose turn it is, and until when at most.
-- prompted: no run has it; the customer is being asked for something.
CREATE TABLE customer_turn (
    business           {bytes} NOT NULL,
    institution        TEXT    NOT NULL,
    customer_ref_index {bytes} NOT NULL,
    connection         {bytes} NOT NULL,
    until_at           {int}   NOT NULL,
    prompted           {bool}  NOT NULL,
    CONSTRAINT customer_turn_key PRIMARY KEY (business, institution, customer_ref_index),
    CONSTRAINT customer_turn_connection UNIQUE (connection)
) {table};

-- due_at: when a notice is to be given of its end, or it ends; null if it has none or has ended.
CREATE TABLE consent (
    id         {bytes} NOT NULL,
    connection {bytes} NOT NULL,
    business   {bytes} NOT NULL,
    granted_at {int}   NOT NULL,
    expires_at {int},
    scopes     TEXT    NOT NULL,
    how        TEXT    NOT NULL,
    reference  {bytes},
    ended_at   {int},
    end_reason TEXT,
    due_at     {int},
    CONSTRAINT consent_key PRIMARY KEY (connection, id),
    CONSTRAINT consent_connection FOREIGN KEY (connection) REFERENCES connection (id)
) {in_key_order};
CREATE INDEX consent_of_business ON consent (business, id);
CREATE INDEX consent_due ON consent (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX consent_ended ON consent (ended_at) WHERE ended_at IS NOT NULL;

-- A customer on the way to letting us in. The hashes are of secrets that only the customer's browser holds.
-- Sealed under the connection's key, or, while there is none, the business's. answering: what the customer typed is at
-- the bank, and what it said is not noted yet.
CREATE TABLE authorisation (
    id            {bytes} NOT NULL,
    business      {bytes} NOT NULL,
    connection    {bytes},
    institution   TEXT,
    state         TEXT    NOT NULL,
    reason        TEXT,
    wishes        {bytes} NOT NULL,
    prompt        {bytes},
    progress      {bytes},
    answering     {bool}  NOT NULL,
    link_hash     {bytes} NOT NULL,
    browser_hash  {bytes},
    redirect_hash {bytes},
    expires_at    {int}   NOT NULL,
    created_at    {int}   NOT NULL,
    ended_at      {int},
    CONSTRAINT authorisation_key PRIMARY KEY (id),
    CONSTRAINT authorisation_business FOREIGN KEY (business) REFERENCES business (id),
    CONSTRAINT authorisation_connection FOREIGN KEY (connection) REFERENCES connection (id),
    CONSTRAINT authorisation_state CHECK (state IN ('choosing', 'asking', 'prompted', 'ready', 'failed'))
) {table};
CREATE UNIQUE INDEX authorisation_link ON authorisation (link_hash);
CREATE UNIQUE INDEX authorisation_redirect ON authorisation (redirect_hash) WHERE redirect_hash IS NOT NULL;
CREATE INDEX authorisation_of_connection ON authorisation (connection, id) WHERE connection IS NOT NULL;
CREATE INDEX authorisation_overdue ON authorisation (expires_at) WHERE ended_at IS NULL;
CREATE INDEX authorisation_ended ON authorisation (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE credential (
    connection {bytes} NOT NULL,
    name       TEXT    NOT NULL,
    version    {int}   NOT NULL,
    sealed     {bytes} NOT NULL,
    expires_at {int},
    CONSTRAINT credential_key PRIMARY KEY (connection, name),
    CONSTRAINT credential_connection FOREIGN KEY (connection) REFERENCES connection (id)
) {table};

-- `listed`: the bank's id, name and number, sealed; the indexes are keyed hashes of id and number.
-- excluded: its business does not want it read, whether it is closed or not.
CREATE TABLE account (
    id            {bytes} NOT NULL,
    connection    {bytes} NOT NULL,
    business      {bytes} NOT NULL,
    listed        {bytes},
    currency      TEXT    NOT NULL,
    bank_id_index {bytes},
    number_index  {bytes},
    state         TEXT    NOT NULL,
    excluded      {bool}  NOT NULL,
    created_at    {int}   NOT NULL,
    CONSTRAINT account_key PRIMARY KEY (id),
    CONSTRAINT account_connection FOREIGN KEY (connection) REFERENCES connection (id),
    CONSTRAINT account_bank_id UNIQUE (connection, bank_id_index),
    CONSTRAINT account_state CHECK (state IN ('active', 'closed'))
) {table};
CREATE INDEX account_of_business ON account (business, id);

-- standing: what the ledger remembers between two looks. window_index: what the last look showed, sealed; none
-- if the next one must be compared row by row. history_due_at: when the next piece of older history is read.
-- take_incomplete: the business wants a statement that shows too little as far as it goes, once. reads: how often it was
-- read without its customer on the bank's day that ends at reads_until. unattended_at: no such reading before. stale_at:
-- from then on what was read last is too old; stale_told: the business knows.
CREATE TABLE account_head (
    account         {bytes} NOT NULL,
    connection      {bytes} NOT NULL,
    seq             {int}   NOT NULL,
    epoch           {int}   NOT NULL,
    balances        TEXT    NOT NULL,
    state           {bytes},
    due_at          {int}   NOT NULL,
    next_sync       {bytes},
    current_sync    {bytes},
    requested_at    {int},
    present         {bytes},
    next_allowed_at {int},
    failures        {int}   NOT NULL,
    last_sync       {bytes},
    fresh_at        {int},
    standing        TEXT    NOT NULL,
    window_index    {bytes},
    history_from    TEXT,
    history_due_at  {int},
    take_incomplete {bool}  NOT NULL,
    stale_at        {int},
    stale_told      {bool}  NOT NULL,
    reads           {int}   NOT NULL DEFAULT 0,
    reads_until     {int},
    unattended_at   {int},
    CONSTRAINT account_head_key PRIMARY KEY (account),
    CONSTRAINT account_head_account FOREIGN KEY (account) REFERENCES account (id)
) {table};
CREATE INDEX account_head_of_connection ON account_head (connection);
CREATE INDEX account_head_stale ON account_head (stale_at) WHERE NOT stale_told;

-- Syncs that somebody asked for and that are not finished; answered_by when another run took over.
CREATE TABLE sync_request (
    id           {bytes} NOT NULL,
    account      {bytes} NOT NULL,
    requested_at {int}   NOT NULL,
    answered_by  {bytes},
    CONSTRAINT sync_request_key PRIMARY KEY (id)
) {in_key_order};
CREATE INDEX sync_request_of_account ON sync_request (account);
CREATE INDEX sync_request_answered ON sync_request (requested_at) WHERE answered_by IS NOT NULL;

-- The current rows. known_until: the booking date of a booked row, else the end of time, so that
-- one range finds what a reading is compared with.
CREATE TABLE txn (
    account       {bytes} NOT NULL,
    number        {int}   NOT NULL,
    status        TEXT    NOT NULL,
    stability     TEXT    NOT NULL,
    booked_on     TEXT,
    valued_on     TEXT,
    amount_minor  {int}   NOT NULL,
    currency      TEXT    NOT NULL,
    known_until   TEXT    NOT NULL,
    first_seen_at {int}   NOT NULL,
    first_seen_on TEXT    NOT NULL,
    changed_at    {int}   NOT NULL,
    last_seq      {int}   NOT NULL,
    missed        {int}   NOT NULL,
    CONSTRAINT txn_key PRIMARY KEY (account, number),
    CONSTRAINT txn_status CHECK (status IN ('pending', 'booked'))
) {in_key_order};
CREATE INDEX txn_known ON txn (account, known_until);

CREATE TABLE txn_body (
    account {bytes} NOT NULL,
    number  {int}   NOT NULL,
    sealed  {bytes} NOT NULL,
    CONSTRAINT txn_body_key PRIMARY KEY (account, number)
) {table};

-- Append-only; erasing empties before_image and after_image. links: for an added one, the numbers of pending
-- ones that it may be the booking of, and how likely, as JSON.
CREATE TABLE txn_change (
    account      {bytes} NOT NULL,
    seq          {int}   NOT NULL,
    number       {int}   NOT NULL,
    kind         TEXT    NOT NULL,
    before_image {bytes},
    after_image  {bytes},
    reason       TEXT    NOT NULL,
    ambiguous    {bool}  NOT NULL,
    links        TEXT,
    observed_at  {int}   NOT NULL,
    sync         {bytes} NOT NULL,
    CONSTRAINT txn_change_key PRIMARY KEY (account, seq),
    CONSTRAINT txn_change_kind CHECK (kind IN ('added', 'modified', 'removed'))
) {table};
CREATE INDEX txn_change_of_txn ON txn_change (account, number, seq);
CREATE INDEX txn_change_observed ON txn_change (account, observed_at, seq);

-- runs: scheduled ones of one day that changed nothing are one row, the first one's.
CREATE TABLE sync (
    id               {bytes} NOT NULL,
    connection       {bytes} NOT NULL,
    account          {bytes} NOT NULL,
    wanted_by        TEXT    NOT NULL,
    customer_present {bool}  NOT NULL,
    started_at       {int}   NOT NULL,
    finished_at      {int}   NOT NULL,
    bank_asked_at    {int},
    bank_answered_at {int},
    code             TEXT    NOT NULL,
    reason           TEXT,
    message          TEXT,
    has_new_data     {bool}  NOT NULL,
    added            {int}   NOT NULL,
    modified         {int}   NOT NULL,
    removed          {int}   NOT NULL,
    proof            TEXT    NOT NULL,
    seq              {int}   NOT NULL,
    epoch            {int}   NOT NULL,
    next_allowed_at  {int},
    next_at          {int},
    connector        TEXT    NOT NULL,
    runs             {int}   NOT NULL,
    CONSTRAINT sync_key PRIMARY KEY (account, id)
) {table};
CREATE INDEX sync_by_id ON sync (id);
CREATE INDEX sync_unchanged ON sync (finished_at) WHERE NOT has_new_data;

-- payload holds ids, numbers and codes only; it is the exact body that is signed and sent.
CREATE TABLE event (
    id         {bytes} NOT NULL,
    business   {bytes} NOT NULL,
    kind       TEXT    NOT NULL,
    connection {bytes} NOT NULL,
    account    {bytes},
    payload    TEXT    NOT NULL,
    created_at {int}   NOT NULL,
    CONSTRAINT event_key PRIMARY KEY (id)
) {table};
CREATE INDEX event_created ON event (created_at);

CREATE TABLE endpoint (
    id              {bytes} NOT NULL,
    business        {bytes} NOT NULL,
    url             TEXT    NOT NULL,
    event_types     TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    disabled_reason TEXT,
    failing_since   {int},
    secrets         {bytes} NOT NULL,
    created_at      {int}   NOT NULL,
    CONSTRAINT endpoint_key PRIMARY KEY (id),
    CONSTRAINT endpoint_business FOREIGN KEY (business) REFERENCES business (id),
    CONSTRAINT endpoint_state CHECK (state IN ('active', 'disabled'))
) {table};
CREATE INDEX endpoint_of_business ON endpoint (business, id);

CREATE TABLE delivery (
    id       {bytes} NOT NULL,
    event    {bytes} NOT NULL,
    endpoint {bytes} NOT NULL,
    state    TEXT    NOT NULL,
    due_at   {int}   NOT NULL,
    token    {int}   NOT NULL,
    attempts {int}   NOT NULL,
    CONSTRAINT delivery_key PRIMARY KEY (id),
    CONSTRAINT delivery_state CHECK (state IN ('pending', 'delivered', 'exhausted', 'cancelled'))
) {in_key_order};
CREATE INDEX delivery_due ON delivery (endpoint, due_at) WHERE state = 'pending';
CREATE INDEX delivery_of_endpoint ON delivery (endpoint, id);
CREATE INDEX delivery_of_event ON delivery (event);
CREATE INDEX delivery_ended ON delivery (due_at) WHERE state <> 'pending';

CREATE TABLE attempt (
    id          {bytes} NOT NULL,
    delivery    {bytes} NOT NULL,
    event       {bytes} NOT NULL,
    at          {int}   NOT NULL,
    duration_ms {int}   NOT NULL,
    status      {int},
    error       TEXT,
    CONSTRAINT attempt_key PRIMARY KEY (delivery, id)
) {in_key_order};
CREATE INDEX attempt_at ON attempt (at);

-- status and sealed are null while the request is being answered. request_hash is keyed, since a body may hold a PIN.
-- connection: of which the answer speaks; it goes with the customer.
CREATE TABLE idempotency (
    business     {bytes} NOT NULL,
    key          TEXT    NOT NULL,
    request_hash {bytes} NOT NULL,
    status       {int},
    sealed       {bytes},
    connection   {bytes},
    created_at   {int}   NOT NULL,
    CONSTRAINT idempotency_key PRIMARY KEY (business, key)
) {table};
CREATE INDEX idempotency_created ON idempotency (created_at);
CREATE INDEX idempotency_of_connection ON idempotency (connection) WHERE connection IS NOT NULL;
