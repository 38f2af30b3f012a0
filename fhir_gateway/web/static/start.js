// The pages work without this. It only makes menus fold and puts the reader at the list of mistakes.
import { initAll } from './nhsuk/nhsuk-frontend-10.6.1.min.js'

initAll()
